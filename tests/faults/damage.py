"""Seeded damage to files, as disks, networks and interrupted copies do it."""

import random
from collections.abc import Callable
from pathlib import Path

import tifffile

_METADATA = (".json", ".zarray", ".zattrs", ".zgroup")


def damage(path: Path, seed: int) -> tuple[str, str]:
    """Change a slide.

    Parameters
    ----------
    path
        A file, or the folder of an OME-Zarr image.
    seed
        Decides what is done, where.

    Returns
    -------
    tuple
        The kind of the damage, and in words where it is.
    """
    chance = random.Random(seed)
    if path.is_dir():
        return _damage_folder(path, chance)
    content = path.read_bytes()
    kinds = dict(_KINDS)
    places = _directory_places(path)
    if places:
        kinds["directory"] = lambda data, dice: _scrambled(data, dice, places)
    kind = chance.choice(sorted(kinds))
    changed, where = _changed(content, kinds[kind], chance)
    path.write_bytes(changed)
    return kind, where


def _damage_folder(folder: Path, chance: random.Random) -> tuple[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    metadata = [file for file in files if file.name.endswith(_METADATA)]
    chunks = [file for file in files if file not in metadata]
    kind = chance.choice(sorted({**_KINDS, "missing": None, "directory": None}))
    file = chance.choice(metadata if kind == "directory" else chunks)
    name = str(file.relative_to(folder))
    if kind == "missing":
        file.unlink()
        return kind, name
    if kind == "swap":  # of two chunks
        other = chance.choice([chunk for chunk in chunks if chunk != file])
        one, two = file.read_bytes(), other.read_bytes()
        file.write_bytes(two)
        other.write_bytes(one)
        return kind, f"{name} with {other.relative_to(folder)}"
    if kind == "directory":
        data = file.read_bytes()
        every = list(range(len(data)))
        changed, where = _changed(data, lambda data, dice: _scrambled(data, dice, every), chance)
    else:
        changed, where = _changed(file.read_bytes(), _KINDS[kind], chance)
    file.write_bytes(changed)
    return kind, f"{name}: {where}"


Change = Callable[[bytearray, random.Random], str]


def _changed(content: bytes, change: Change, chance: random.Random) -> tuple[bytes, str]:
    """Other content; zeros over zeros are tried elsewhere."""
    while True:
        data = bytearray(content)
        where = change(data, chance)
        if data != content:
            return bytes(data), where


def _flip(data: bytearray, chance: random.Random) -> str:
    bits = [chance.randrange(8 * len(data)) for _ in range(chance.choice((1, 1, 2, 8)))]
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    return f"bits {bits}"


def _zero(data: bytearray, chance: random.Random) -> str:
    length = min(len(data), chance.choice((16, 64, 512, 4096)))
    start = chance.randrange(len(data) - length + 1)
    data[start : start + length] = bytes(length)
    return f"{length} zeros at {start}"


def _truncate(data: bytearray, chance: random.Random) -> str:
    length = chance.randrange(1, len(data))
    del data[length:]
    return f"cut to {length} bytes"


def _two_blocks(data: bytearray, chance: random.Random) -> tuple[int, int, int]:
    length = max(1, min(len(data) // 4, chance.choice((64, 512, 4096))))
    first, second = (chance.randrange(len(data) // length) * length for _ in range(2))
    return length, first, second


def _swap(data: bytearray, chance: random.Random) -> str:
    length, one, two = _two_blocks(data, chance)
    data[one : one + length], data[two : two + length] = (
        data[two : two + length],
        data[one : one + length],
    )
    return f"{length} bytes at {one} and {two} swapped"


def _duplicate(data: bytearray, chance: random.Random) -> str:
    length, source, target = _two_blocks(data, chance)
    data[target : target + length] = data[source : source + length]
    return f"{length} bytes of {source} again at {target}"


def _scrambled(data: bytearray, chance: random.Random, places: list[int]) -> str:
    changed = [chance.choice(places) for _ in range(chance.choice((1, 1, 2, 4)))]
    for place in changed:
        data[place] = chance.choice((0, 255, data[place] ^ 1 << chance.randrange(8)))
    return f"bytes {changed}"


_KINDS: dict[str, Change] = {
    "duplicate": _duplicate,
    "flip": _flip,
    "swap": _swap,
    "truncate": _truncate,
    "zeros": _zero,
}


def _directory_places(path: Path) -> list[int]:
    """Offsets of the bytes of a TIFF's header, directories, and the tables they point to."""
    if not path.name.endswith((".tif", ".tiff", ".svs")):
        return []
    places = set(range(16))
    with tifffile.TiffFile(path) as tiff:
        entry, head, tail = (20, 8, 8) if tiff.is_bigtiff else (12, 2, 4)
        pages = [page for first in tiff.pages for page in (first, *(first.pages or ()))]
        for page in pages:
            places.update(range(page.offset, page.offset + head + entry * len(page.tags) + tail))
            for tag in page.tags:
                if tag.valuebytecount <= 4096:
                    places.update(range(tag.valueoffset, tag.valueoffset + tag.valuebytecount))
    return sorted(places)
