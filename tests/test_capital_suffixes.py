"""Files whose suffixes are in capitals, as Windows programs write them."""

from pathlib import Path

import pytest
import tifffile
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from flat_slides import picture
from napari_nh2st.export import FORMATS, export, format_of
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.prediction.files import check_output, read_anndata_file
from napari_nh2st.spots import read_spots
from spot_sections import assert_same_spots, drawn_spots


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    return drawn_prediction(array_slide(ArrayLevel(textured(300, 420)), path="section.tif"))


@pytest.mark.parametrize("suffix", [known.suffix for known in FORMATS])
def test_every_format_is_known_in_capitals(suffix: str) -> None:
    assert format_of(Path(f"OUT{suffix.upper()}")) == format_of(Path(f"out{suffix}"))


@pytest.mark.parametrize("name", ["P.H5AD", "P.CSV", "P.GEOJSON", "P.PNG", "P.ZARR"])
def test_a_prediction_is_exported_under_a_name_in_capitals(
    tmp_path: Path, prediction: AnnData, name: str
) -> None:
    export(prediction, tmp_path / name)
    assert (tmp_path / name).is_file() == (name != "P.ZARR")


def test_a_prediction_in_capitals_is_read_again(tmp_path: Path, prediction: AnnData) -> None:
    check_output(tmp_path / "P.H5AD", overwrite=False)
    export(prediction, tmp_path / "P.H5AD")
    assert read_anndata_file(tmp_path / "P.H5AD").shape == prediction.shape
    reader = get_reader(str(tmp_path / "P.H5AD"))
    assert reader is not None
    assert [kind for *_, kind in reader(str(tmp_path / "P.H5AD"))] == ["image", "image"]


def test_measured_spots_in_capitals_are_read(tmp_path: Path) -> None:
    drawn_spots().write_h5ad(tmp_path / "S.H5AD")
    assert_same_spots(read_spots(tmp_path / "S.H5AD"), drawn_spots())


@pytest.mark.parametrize("name", ["A.TIF", "A.SVS", "A.OME.TIF"])
def test_slides_in_capitals_open_in_napari(tmp_path: Path, name: str) -> None:
    tifffile.imwrite(tmp_path / name, picture(64, 80), photometric="rgb", metadata=None)
    reader = get_reader(str(tmp_path / name))
    assert reader is not None
    ((data, _, kind),) = reader(str(tmp_path / name))
    assert kind == "image"
    assert (data[0] if isinstance(data, list) else data).shape == (64, 80, 3)
