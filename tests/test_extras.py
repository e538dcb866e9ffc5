"""Libraries of extras: a missing one is told from a broken one."""

import sys
from pathlib import Path

import numpy as np
import pytest

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.extras import ExtraError, import_extra
from napari_nh2st.slide import open_slide


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that comes before all others."""
    folder = tmp_path / "installed"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_library_that_is_there_is_imported(installed: Path) -> None:
    (installed / "rare_library.py").write_text("answer = 42", encoding="utf-8")
    assert import_extra("rare_library", "rare", "Asking").answer == 42


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(ExtraError) as caught:
        import_extra("rare_library_that_is_missing", "rare", "Asking")
    expected = "Asking needs rare_library_that_is_missing: pip install 'napari-nh2st[rare]'"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import pkg_resources_of_the_past", "ModuleNotFoundError: No module named 'pkg_res"),
        ("from math import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("import math; math.no_such_name", "AttributeError: module 'math' has no"),
        ("raise OSError('libnone.so: cannot open')", "OSError: libnone.so: cannot open"),
    ],
)
def test_a_broken_library_is_not_called_missing(installed: Path, source: str, reason: str) -> None:
    (installed / "broken_library.py").write_text(source, encoding="utf-8")
    with pytest.raises(ExtraError) as caught:
        import_extra("broken_library", "rare", "Asking")
    message = str(caught.value)
    assert "is installed but cannot be imported" in message
    assert reason in message
    assert "pip install --upgrade" in message


def test_a_broken_spatialdata_is_told_where_it_is_needed(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "spatialdata"]:
        monkeypatch.delitem(sys.modules, name)
    (installed / "spatialdata.py").write_text("import pkg_resources_of_the_past", encoding="utf-8")
    slide = array_slide(ArrayLevel(textured(100, 100)), mpp=(0.5, 0.5), path="section.tif")
    prediction = drawn_prediction(slide)
    assert np.isfinite(prediction.X).any()
    with pytest.raises(ExtraError, match=r"cannot be imported .*pkg_resources_of_the_past"):
        export(prediction, tmp_path / "out.spatialdata.zarr")
    assert not (tmp_path / "out.spatialdata.zarr").exists()


def test_openslide_without_its_library_is_told_from_a_missing_one(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "openslide"]:
        monkeypatch.delitem(sys.modules, name)
    (installed / "openslide.py").write_text(
        "raise ModuleNotFoundError('no shared library')", encoding="utf-8"
    )
    (tmp_path / "slide.mrxs").write_bytes(b"\xff\xd8 not really")
    with pytest.raises(InputError, match=r"installed but cannot be imported .*no shared library"):
        open_slide(tmp_path / "slide.mrxs")
