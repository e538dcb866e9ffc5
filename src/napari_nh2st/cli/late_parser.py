"""The parser of a command: options that are added when it is used, and errors in two lines."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from napari_nh2st.cli import verbosity
from napari_nh2st.cli.output import complain
from napari_nh2st.shown_text import in_one_line


class LateParser(argparse.ArgumentParser):
    """A parser whose options are added when it is used.

    They follow from settings, whose modules take time to import: ``nh2st --help`` and the other
    commands do without.
    """

    add_late: Callable[[argparse.ArgumentParser], None] | None = None
    table: str | None = None
    """Of the user's configuration, the table with the defaults of this command's settings."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,  # a command's does not undo the one before the command
            help="print the traceback of an error",
        )
        verbosity.add_options(self)

    def add_options(self) -> None:
        """Add the options, unless they have been."""
        add, self.add_late = self.add_late, None
        if add is not None:
            add(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the options and parse."""
        self.add_options()
        self._take_configured_defaults()
        return super().parse_known_args(args, namespace)

    def _take_configured_defaults(self) -> None:
        """Let the options' defaults be those of the user's configuration, in ``--help`` as well.

        Those of settings are in ``args.configured``: the arguments have only what was given.
        """
        table, self.table = self.table, None
        if table is None:
            return
        from napari_nh2st.cli.options import show_configured
        from napari_nh2st.user_config import TABLES, config_settings, configured

        if table in TABLES:
            if values := configured(table):
                negatives = {s.option.negative: s.name for s in config_settings(table).values()}
                show_configured(self._actions, values, negatives)
            model = {"model": values.pop("model")} if "model" in values else {}
            self.set_defaults(configured=values, **model)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, without the usage that fills a screen."""
        complain(f"nh2st: {in_one_line(message)}\nSee: {self.prog} --help")
        self.exit(2)
