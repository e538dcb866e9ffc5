"""Seeded hostile content: what a file may hold that nobody means well with, or that is broken."""

import json
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    -1e308,
    10**9,
    10**30,
    0.1,
    "",
    " ",
    "0",
    "NaN",
    "../../../etc/passwd",
    "/dev/zero",
    "file:///etc/passwd",
    "\x00",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp.exe",
    "\ud7ff\U0001f9ec",
    "a" * 100_000,
    [],
    {},
    [[]],
    [None] * 1000,
    {"": None},
    {"__class__": "os.system"},
)
"""Values of wrong types and sizes, and texts that mean something to a path, a terminal or HTML."""


def mutated_json(content: Any, chance: random.Random) -> tuple[str, str]:
    """The text of a JSON document in which something is wrong, and in words what."""
    places = list(_places(content, ()))
    place = chance.choice(places)
    how = chance.choice(("value", "value", "value", "remove", "many", "deep", "text", "bytes"))
    content = json.loads(json.dumps(content))
    text = ""
    if how == "deep":
        depth = chance.choice((10, 1000, 100_000))
        value: Any = f"@deep{depth}"
        content = _with(content, place, value)
        text = json.dumps(content).replace(f'"{value}"', "[" * depth + "]" * depth)
        how = f"{depth} lists in each other"
    elif how == "remove" and place:
        content = _without(content, place)
    elif how == "many":
        length = chance.choice((2, 1000, 100_000))
        content = _with(content, place, [_at(content, place)] * length)
        how = f"{length} times"
    elif how == "text":
        text = json.dumps(content)
        cut = chance.randrange(len(text))
        text = chance.choice((text[:cut], text + text, text[:cut] + "NaN" + text[cut:], "[", ""))
    elif how == "bytes":
        letters = list(json.dumps(content))
        for _ in range(chance.choice((1, 3, 10))):
            letters[chance.randrange(len(letters))] = chance.choice('{}[]",:0-\\e\u0000é')
        text = "".join(letters)
    else:
        value = chance.choice(VALUES)
        content = _with(content, place, value)
        how = f"is {str(value)[:40]!r}"
    return text or json.dumps(content), f"{'.'.join(map(str, place)) or 'all'}: {how}"


def mutated_table(text: str, chance: random.Random) -> tuple[str, str]:
    """The text of a table in which something is wrong, and in words what."""
    separator = "\t" if "\t" in text else ","
    rows = [line.split(separator) for line in text.splitlines()]
    row = chance.randrange(len(rows))
    column = chance.randrange(len(rows[row]))
    how = chance.choice(("cell", "cell", "cell", "row", "column", "twice", "cut", "wide", "long"))
    if how == "cell":
        value = str(chance.choice(VALUES))
        rows[row][column] = value
        how = f"row {row}, column {column} is {value[:40]!r}"
    elif how == "row":
        del rows[row]
    elif how == "column":
        rows = [cells[:column] + cells[column + 1 :] for cells in rows]
    elif how == "twice":
        rows.append(list(rows[row]))
        rows[0].append(rows[0][0])
    elif how == "cut":
        return text[: chance.randrange(len(text))], "cut"
    elif how == "wide":
        rows[row] += ["1"] * chance.choice((1, 100_000))
    else:
        rows += [list(rows[-1])] * 10_000
    joined = "\n".join(separator.join(cells) for cells in rows)
    return joined, how


def _places(content: Any, here: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield here
    inside: Any = ()
    if isinstance(content, dict):
        inside = content.items()
    elif isinstance(content, list):
        inside = list(enumerate(content))[:3]
    for key, value in inside:
        yield from _places(value, (*here, key))


def _at(content: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        content = content[key]
    return content


def _with(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    _at(content, place[:-1])[place[-1]] = value
    return content


def _without(content: Any, place: tuple[Any, ...]) -> Any:
    del _at(content, place[:-1])[place[-1]]
    return content
