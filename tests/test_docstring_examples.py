"""Examples in docstrings run; those that need files are blocks of code instead."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import napari_nh2st

PACKAGE = Path(napari_nh2st.__path__[0])


def modules_with(text: str) -> list[str]:
    """Modules whose source has a text."""
    return [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(text, path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


@pytest.mark.parametrize("module", modules_with(r"^ *>>> "))
def test_examples_run(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    failed, attempted = doctest.testmod(import_module(module))
    assert not failed, capsys.readouterr().out
    assert attempted


def test_no_example_is_skipped() -> None:
    assert not modules_with(r"doctest: *\+SKIP")


def test_blocks_of_code_in_docstrings_are_python() -> None:
    """Examples that need files: their syntax alone."""
    found = 0
    for module in modules_with(r"\.\. code-block:: python"):
        lines = iter(
            (PACKAGE.parent / f"{module.replace('.', '/')}.py").read_text("utf-8").split("\n")
        )
        for line in lines:
            if not line.endswith(".. code-block:: python"):
                continue
            indent = line.index("..") + 4
            block = []
            for code in lines:
                if code.strip() and not code.startswith(" " * indent):
                    break
                block.append(code[indent:])
            compile("\n".join(block), module, "exec")
            found += 1
    assert found > 10
