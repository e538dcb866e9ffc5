"""The page on environment variables has each that the code reads, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_variable_that_is_read_is_on_the_page_and_no_other() -> None:
    read = {
        name
        for file in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"\bNH2ST_[A-Z][A-Z_]*[A-Z]\b", file.read_text(encoding="utf-8"))
    }
    assert len(read) > 5
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(NH2ST_\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == read
    assert len(rows) == len(read)
