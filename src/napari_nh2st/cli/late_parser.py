"""The parser of a command: options that are added when it is used, and errors in two lines."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from napari_nh2st.cli.output import in_one_line, report


class LateParser(argparse.ArgumentParser):
    """A parser whose options are added when it is used.

    They follow from settings, whose modules take time to import: ``nh2st --help`` and the other
    commands do without.
    """

    add_late: Callable[[argparse.ArgumentParser], None] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,  # a command's does not undo the one before the command
            help="print the traceback of an error",
        )

    def add_options(self) -> None:
        """Add the options, unless they have been."""
        add, self.add_late = self.add_late, None
        if add is not None:
            add(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the options and parse."""
        self.add_options()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, without the usage that fills a screen."""
        report(f"nh2st: {in_one_line(message)}\nSee: {self.prog} --help")
        self.exit(2)
