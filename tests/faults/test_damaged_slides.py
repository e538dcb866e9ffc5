"""Damaged slides are refused, or what cannot be read is marked; nothing crashes or hangs."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import damage_cases
import pytest
from damage import damage
from extent import Extent
from fault_runs import Tally
from forking import ForkServer, Raised
from slide_formats import FORMATS, write_slide

_SAME_LENGTH = ("duplicate", "flip", "swap", "zeros")

WITHOUT_CHECKSUM = {
    "raw": "every byte is a pixel",
    "packbits": "runs of bytes",
    "lzw": "other codes may stand for as many samples",
    "jpegxl": "has none; what the decoder notices is marked",
    "zstd": "writers leave its checksum out",
    "shards": "as zstd, with which they are compressed here",
    "blosc": "has none",
    "webp": "has none",
    "jpeg": "has none; what libjpeg notices is marked",
    "jpeg2000": "has none; what the decoder notices is marked",
}
"""Compressions in which data of the right length may decode to other pixels, and why.

docs/slides.md says so. In no format may a slide be of another size, or a piece be missing or cut,
without a word.
"""


def may_be_silent(name: str, kind: str) -> bool:
    """Whether damage of a kind may show as other pixels."""
    if kind == "swap" and name.endswith(".zarr"):
        return True  # of two whole chunks, none of which knows its place
    words = set(name.replace(".", "-").split("-")[:2])
    return kind in _SAME_LENGTH and bool(words & set(WITHOUT_CHECKSUM))


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_refused_or_marked(
    name: str, server: ForkServer, extent: Extent, tally: Tally, tmp_path: Path
) -> None:
    number = FORMATS.index(name)
    seeds = [seed for seed in extent.seeds if seed % len(FORMATS) == number]
    if seeds:
        _try_damage(write_slide(name, tmp_path), name, seeds, server, tally)
    assert not tally.problems, "\n\n".join(tally.problems)


def test_damage_to_a_real_slide(
    test_data: Path, server: ForkServer, extent: Extent, tally: Tally, tmp_path: Path
) -> None:
    whole = tmp_path / "jpeg.svs"
    shutil.copyfile(test_data / "slides" / "CMU-1-Small-Region.svs", whole)
    _try_damage(whole, whole.name, extent.seeds[:: len(FORMATS)], server, tally)
    assert not tally.problems, "\n\n".join(tally.problems)


def _try_damage(
    whole: Path, name: str, seeds: Sequence[int], server: ForkServer, tally: Tally
) -> None:
    ended = server.run(damage_cases.look_at, whole)
    assert ended.how == "returned", ended.in_words()
    undamaged = ended.value
    assert not undamaged.refused, undamaged.refused
    assert undamaged.levels
    assert undamaged.brightfield
    assert not any(marked.any() for marked in undamaged.marked)
    for seed in seeds:
        broken = whole.parent / "broken" / whole.name
        shutil.rmtree(broken.parent, ignore_errors=True)
        broken.parent.mkdir()
        (shutil.copytree if whole.is_dir() else shutil.copy)(whole, broken)
        kind, where = damage(broken, seed)
        ended = server.run(damage_cases.outcome, broken, undamaged)
        case = f"--faults=1 --faults-seed={seed} ({kind}, {where}): "
        if ended.how != "returned":
            how = "traceback" if isinstance(ended.value, Raised) else ended.how
            tally.add(how, case + ended.in_words())
            continue
        outcome, why = ended.value
        wrong = outcome == "other size"
        wrong |= outcome == "other pixels" and not may_be_silent(name, kind)
        tally.add(outcome, case + why if wrong else "")
