"""AnnData and tables of strangers end in a sentence, whatever is in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest

from array_slides import write_tiff
from drawn_predictions import drawn_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.layers import expression
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import read_sections, read_spots


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    data = anndata.AnnData(np.arange(60, dtype=np.float32).reshape(20, 3))
    row, column = np.divmod(np.arange(20), 5)
    data.obs["array_row"], data.obs["array_col"] = row, column
    data.obsm["spatial"] = np.column_stack([column * 100.0, row * 100.0])
    library = {
        "images": {"hires": np.zeros((50, 50, 3), np.uint8)},
        "scalefactors": {"tissue_hires_scalef": 0.05, "spot_diameter_fullres": 50.0},
    }
    data.uns["spatial"] = {"a": library}
    data.write_h5ad(tmp_path / "spots.h5ad")
    read_spots(tmp_path / "spots.h5ad")
    return tmp_path / "spots.h5ad"


@pytest.fixture
def prediction(tmp_path: Path) -> Path:
    path = write_tiff(tmp_path / "section.tif", np.full((300, 400, 3), 200, np.uint8))
    with open_slide(path, mpp=1.0) as slide:
        export(drawn_prediction(slide), tmp_path / "out.h5ad")
    assert len(read_expression(tmp_path / "out.h5ad")) == 2
    return tmp_path / "out.h5ad"


def replace(file: Path, place: str, value: Any) -> None:
    """Put a plain array or text in the place of whatever is there."""
    with h5py.File(file, "r+") as content:
        del content[place]
        content[place] = value


def refusal_of(read: Callable[[Path], object], file: Path) -> str:
    """What is wrong with a file, in words; empty where it is read."""
    try:
        read(file)
    except InputError as error:
        return str(error)
    return ""


FACTOR = "uns/spatial/a/scalefactors/tissue_hires_scalef"


@pytest.mark.parametrize("read", [read_spots, read_expression])
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (FACTOR, np.zeros(3)),
        (FACTOR, np.zeros(0)),
        (FACTOR, "<img src=x>"),
        ("uns/spatial/a/scalefactors", np.arange(3)),
        ("uns/spatial/a", np.arange(3)),
        ("obsm/spatial", np.full((20, 2), np.nan)),
        ("obsm/spatial", np.zeros((20, 0))),
        ("obs/array_row", np.zeros((20, 2))),
    ],
)
def test_spots_whose_parts_are_of_another_kind_are_read_or_refused(
    spots: Path, read: Callable[[Path], object], place: str, value: Any
) -> None:
    replace(spots, place, value)
    refusal = refusal_of(read, spots)
    assert "\n" not in refusal
    assert not refusal or "spots.h5ad" in refusal


def test_a_part_of_another_kind_is_told(spots: Path) -> None:
    replace(spots, "uns/spatial/a/scalefactors", np.arange(3))
    with pytest.raises(InputError, match="a part of it is not of the usual kind"):
        read_expression(spots)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("uns/nh2st", np.zeros(0)),
        ("uns/nh2st/slide", np.zeros(3)),
        ("uns/nh2st/slide/name", np.zeros(0)),
        ("uns/nh2st/slide/path", np.zeros(0)),
        ("uns/nh2st/array_shape", np.array([10**9, 10**9])),
        ("uns/nh2st/step_px_fullres", np.array([0.0, 0.0])),
        ("obs/array_row", np.full(10**3, -(2**62))),
    ],
)
def test_predictions_whose_parts_are_of_another_kind_are_read_or_refused(
    prediction: Path, place: str, value: Any
) -> None:
    replace(prediction, place, value)
    refusal = refusal_of(read_expression, prediction)
    assert not refusal or "out.h5ad" in refusal


def test_tiles_that_are_far_apart_make_no_image(prediction: Path) -> None:
    with h5py.File(prediction, "r+") as content:
        content["obs/array_row"][0] = 2**40
    with pytest.raises(InputError, match="make a heatmap of"):
        read_expression(prediction)


@pytest.mark.parametrize("recorded", [r"\\server\share\section.tif", "//server/share/section.tif"])
def test_a_network_path_of_a_stranger_is_not_asked_for(
    prediction: Path, monkeypatch: pytest.MonkeyPatch, recorded: str
) -> None:
    replace(prediction, "uns/nh2st/slide/path", recorded)
    replace(prediction, "uns/nh2st/slide/name", "elsewhere.tif")
    asked: list[str] = []

    class Recording(type(Path())):  # type: ignore[misc]
        def exists(self, **_: Any) -> bool:
            asked.append(str(self))
            return super().exists()

    monkeypatch.setattr(expression, "Path", Recording)
    read_expression(prediction)
    assert any("elsewhere.tif" in path for path in asked)
    assert not any("server" in path for path in asked)


@pytest.mark.parametrize(
    "text",
    [
        "- {section_id: " + "9" * 6000 + "}",
        "- " * 3000 + "x",
        "[" * 3000,
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"k{n}: &k{n} [{','.join([f'*{p}'] * 9)}]\n" for n, p in enumerate("a"))
        + "sections: *k0\n",
        "- &a {section_id: *a}",
        "!!python/object/apply:os.mkdir ['it-ran']",
    ],
    ids=["digits", "depth", "brackets", "aliases", "a circle", "code"],
)
def test_a_table_of_yaml_that_nothing_can_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "sections.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"sections\.yaml"):
        read_sections(tmp_path / "sections.yaml")
    assert not Path("it-ran").exists()
