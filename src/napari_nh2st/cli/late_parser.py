"""A parser whose options are added when it is used."""

import argparse
from collections.abc import Callable
from typing import Any


class LateParser(argparse.ArgumentParser):
    """A parser whose options are added when it is used.

    Those of a training follow from its settings, which import torch: that takes seconds, and
    ``nh2st --help`` and the other commands do without.
    """

    add_late: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Add the options and parse."""
        add, self.add_late = self.add_late, None
        if add is not None:
            add(self)
        return super().parse_known_args(args, namespace)
