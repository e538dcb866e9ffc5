"""What is printed: results on stdout, everything else on stderr."""

import json
from collections.abc import Sequence
from typing import Any


def print_json(content: Any) -> None:
    """Print a result for programs."""
    print(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Print names with their values beside them."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
