"""µm/px comes from each vendor's own field, from resolution tags only where plausible."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_nh2st.slide import open_slide, resolution

PIXELS = np.full((300, 400, 3), 200, np.uint8)


def written(path: Path, **options: Any) -> Path:
    options = {"photometric": "rgb", "tile": (256, 256), "metadata": None, **options}
    tifffile.imwrite(path, PIXELS, **options)
    return path


def test_real_svs(test_data: Path) -> None:
    with open_slide(test_data / "slides" / "CMU-1-Small-Region.svs") as slide:
        assert slide.mpp == (0.499, 0.499)
        assert slide.mpp_source == "Aperio MPP"
        assert slide.vendor == "aperio"


@pytest.mark.parametrize("name", ["boxes.tiff", "yb10kx5k.zstd.tiff"])
def test_72_dpi_of_real_tiffs_is_no_resolution(test_data: Path, name: str) -> None:
    with open_slide(test_data / "slides" / name) as slide:
        assert slide.mpp is None
        assert slide.mpp_source == "unknown"
        assert slide.level_mpp(1) is None


@pytest.mark.parametrize(
    ("per_unit", "unit", "expected"),
    [
        ((20000, 40000), "CENTIMETER", (0.25, 0.5)),
        ((50800, 50800), "INCH", (0.5, 0.5)),
        ((96, 96), "INCH", None),
        ((300, 300), "INCH", None),
        ((28.35, 28.35), "CENTIMETER", None),
        ((1, 1), "INCH", None),
        ((20000, 20000), "NONE", None),
        ((10_000_000, 10_000_000), "CENTIMETER", None),
    ],
)
def test_resolution_tags_count_only_where_plausible(
    tmp_path: Path,
    per_unit: tuple[float, float],
    unit: str,
    expected: tuple[float, float] | None,
) -> None:
    path = written(tmp_path / "slide.tif", resolution=per_unit, resolutionunit=unit)
    with open_slide(path) as slide:
        if expected is None:
            assert slide.mpp is None
        else:  # the tags are written x first, ours is y first
            assert slide.mpp == pytest.approx(expected)
            assert slide.mpp_source == "TIFF resolution tags"


@pytest.mark.parametrize(("given", "expected"), [(0.69, (0.69, 0.69)), ((0.5, 0.4), (0.5, 0.4))])
def test_given_value_wins(
    tmp_path: Path, given: float | tuple[float, float], expected: tuple[float, float]
) -> None:
    path = written(
        tmp_path / "slide.svs", description="Aperio Image Library\r\nx |AppMag = 20|MPP = 0.2500"
    )
    with open_slide(path) as slide:
        assert slide.mpp == (0.25, 0.25)
    with open_slide(path, mpp=given) as slide:
        assert slide.mpp == expected
        assert slide.mpp_source == "given"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float32(0.5), (0.5, 0.5)),
        (np.array(0.5), (0.5, 0.5)),
        (np.array([0.5, 0.25]), (0.5, 0.25)),
        ([1, 2], (1, 2)),
        (0.02, (0.02, 0.02)),
        (20, (20, 20)),
    ],
)
def test_given_value_may_be_of_any_kind_of_number(
    tmp_path: Path, given: Any, expected: tuple[float, float]
) -> None:
    with open_slide(written(tmp_path / "slide.tif"), mpp=given) as slide:
        assert slide.mpp == expected
        assert {type(value) for value in slide.mpp} == {float}


@pytest.mark.parametrize("said", ["500", "0.0005"])
def test_vendor_field_that_no_microscope_has_is_unknown(tmp_path: Path, said: str) -> None:
    path = written(tmp_path / "slide.svs", description=f"Aperio Image Library\r\nx |MPP = {said}")
    with open_slide(path) as slide:
        assert slide.mpp is None
        assert slide.mpp_source.startswith("unknown (Aperio MPP of ")
        assert said in slide.mpp_source
    with open_slide(path, mpp=0.5) as slide:
        assert slide.mpp == (0.5, 0.5)


def test_aperio_without_mpp_is_unknown(tmp_path: Path) -> None:
    path = written(
        tmp_path / "slide.svs", description="Aperio Image Library\r\nx |AppMag = 20|Filename = a"
    )
    with open_slide(path) as slide:
        assert slide.mpp is None


@pytest.mark.parametrize(
    ("unit", "size", "expected"),
    [("µm", 0.25, 0.25), ("nm", 250, 0.25), ("mm", 0.00025, 0.25), ("pixel", 1, None)],
)
def test_ome_physical_size_has_a_unit(
    tmp_path: Path, unit: str, size: float, expected: float | None
) -> None:
    path = written(
        tmp_path / "slide.ome.tif",
        metadata={
            "axes": "YXS",
            "PhysicalSizeX": size,
            "PhysicalSizeXUnit": unit,
            "PhysicalSizeY": 2 * size,
            "PhysicalSizeYUnit": unit,
        },
    )
    with open_slide(path) as slide:
        if expected is None:
            assert slide.mpp is None
        else:
            assert slide.mpp == pytest.approx((2 * expected, expected))
            assert slide.mpp_source == "OME physical size"


def test_imagej_unit(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=(2, 4), metadata={"unit": "um"})
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.5))
        assert slide.mpp_source == "ImageJ unit"


LEICA = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
 <collection name="c" sizeX="25000000" sizeY="75000000">
  <image name="macro"><view sizeX="25000000" sizeY="75000000" offsetX="0" offsetY="0"/>
   <pixels sizeX="1000" sizeY="3000"><dimension sizeX="1000" sizeY="3000" r="0" ifd="0"/></pixels>
  </image>
  <image name="main"><view sizeX="10000000" sizeY="8000000" offsetX="1" offsetY="1"/>
   <pixels sizeX="40000" sizeY="16000"><dimension r="0" ifd="1"/></pixels>
  </image>
 </collection>
</scn>"""


def test_leica_view_in_nanometers() -> None:
    found = resolution.from_leica(LEICA, width=40000, height=16000)
    assert found is not None
    assert found.mpp == pytest.approx((0.5, 0.25))
    assert resolution.from_leica(LEICA, width=1, height=1) is None


def test_philips_spacing_in_millimeters() -> None:
    xml = """<DataObject ObjectType="DPUfsImport"><Attribute Name="PIM_DP_SCANNED_IMAGES"><Array>
      <DataObject ObjectType="PixelDataRepresentation">
      <Attribute Name="DICOM_PIXEL_SPACING">"0.00025" "0.0005"</Attribute></DataObject>
      <DataObject ObjectType="PixelDataRepresentation">
      <Attribute Name="DICOM_PIXEL_SPACING">"0.0005" "0.001"</Attribute></DataObject>
      </Array></Attribute></DataObject>"""
    found = resolution.from_philips(xml)
    assert found is not None
    assert found.mpp == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize(
    "parser", [resolution.from_philips, lambda xml: resolution.from_ome(xml, 1, 1)]
)
def test_damaged_xml_is_no_resolution(parser: Any) -> None:
    assert parser("<OME><Image") is None


def test_openslide_generic_tiff_only_if_plausible() -> None:
    properties = {"openslide.mpp-x": "352.8", "openslide.mpp-y": "352.8"}
    assert resolution.from_openslide({**properties, "openslide.vendor": "generic-tiff"}) is None
    found = resolution.from_openslide(
        {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5", "openslide.vendor": "mirax"}
    )
    assert found is not None
    assert found.mpp == (0.5, 0.25)


def test_another_mpp_makes_another_slide_of_the_same_open_file(tmp_path: Path) -> None:
    with open_slide(written(tmp_path / "a.tif"), mpp=0.5) as slide:
        other = slide.with_mpp((0.25, 0.3))
        assert (other.mpp, other.mpp_source, other.level_mpp(0)) == (
            (0.25, 0.3),
            "given",
            other.mpp,
        )
        assert slide.mpp == (0.5, 0.5)
        assert other.fingerprint == slide.fingerprint
        np.testing.assert_array_equal(
            other.read_region(0, 0, 300, 400), slide.read_region(0, 0, 300, 400)
        )
