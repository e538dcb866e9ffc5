"""Slides that are more than their first file, or whose tiles overlap, go to OpenSlide alone."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from array_slides import tissue
from flat_slides import picture
from mirax_slides import write_mirax
from napari_nh2st.errors import InputError
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.slide import open_slide, openslide_backend

openslide = pytest.importorskip("openslide")

PIXELS = tissue(512, 768)


@pytest.fixture
def no_openslide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openslide_backend, "import_openslide", lambda: None)


@pytest.mark.parametrize("name", ["a.mrxs", "A.MRXS", "a.Mrxs"])
def test_mirax_is_read_whole_though_its_file_is_a_jpeg(tmp_path: Path, name: str) -> None:
    """In capitals too, which OpenSlide itself does not take for MIRAX."""
    path = write_mirax(tmp_path / name, PIXELS)
    with open_slide(path) as slide:
        assert slide.vendor == "mirax"
        assert slide.shape == (6 * 256, 8 * 256)
        assert slide.mpp == (0.5, 0.5)
        seen = slide.read_region(256, 512, 512, 768).astype(int)
        assert np.abs(seen - PIXELS).max() <= 6
        assert (slide.read_region(0, 0, 256, 256) == 255).all()
        assert slide.bounds == (256, 512, 512, 768)
        assert slide.fingerprint


def test_bounds_are_those_of_openslide(tmp_path: Path) -> None:
    path = write_mirax(tmp_path / "a.mrxs", PIXELS, at=(3, 1))
    with open_slide(path) as ours, openslide.OpenSlide(str(path)) as theirs:
        names = ("y", "x", "height", "width")
        expected = tuple(int(theirs.properties[f"openslide.bounds-{name}"]) for name in names)
        assert ours.bounds == expected == (768, 256, 512, 768)


def test_a_slide_that_was_scanned_whole_has_no_bounds(tmp_path: Path) -> None:
    path = write_mirax(tmp_path / "a.mrxs", PIXELS, at=(0, 0), canvas=(2, 3))
    with open_slide(path) as slide:
        assert slide.shape == (512, 768)
        assert slide.bounds is None


def test_mirax_slides_of_other_tiles_have_other_fingerprints(tmp_path: Path) -> None:
    found = set()
    for name, pixels in (("a", PIXELS), ("b", PIXELS[::-1])):
        (tmp_path / name).mkdir()
        with open_slide(write_mirax(tmp_path / name / "s.mrxs", pixels)) as slide:
            found.add(slide.fingerprint)
    assert len(found) == 2


@pytest.mark.usefixtures("no_openslide")
@pytest.mark.parametrize("name", ["a.mrxs", "A.MRXS"])
def test_without_openslide_the_preview_of_mirax_is_not_shown(tmp_path: Path, name: str) -> None:
    path = write_mirax(tmp_path / name, PIXELS)
    with pytest.raises(InputError, match=r"MIRAX.*install napari-nh2st\[openslide\]"):
        open_slide(path)
    reader = get_reader(str(path))
    assert reader is not None
    with pytest.raises(InputError, match=r"napari-nh2st\[openslide\]"):
        reader(str(path))


def test_a_mirax_file_without_its_folder_is_not_shown(tmp_path: Path) -> None:
    path = write_mirax(tmp_path / "a.mrxs", PIXELS)
    path.with_suffix("").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"the folder a with Slidedat\.ini"):
        open_slide(path)


@pytest.mark.usefixtures("no_openslide")
@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"ZISRAWFILE" + bytes(300), "Zeiss CZI"),
        (b"[Virtual Microscope Specimen]\nNoLayers=1\n", "VMS"),
        (b"\r\n[Uncompressed Virtual Microscope Specimen]\n", "VMU"),
        (b"II*\0" + bytes(124) + b"DICM" + bytes(300), "DICOM"),  # a TIFF as well
    ],
)
def test_other_formats_are_told_by_content(tmp_path: Path, head: bytes, name: str) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(head)
    with pytest.raises(InputError, match=rf"{name}.*install napari-nh2st\[openslide\]"):
        open_slide(path)


def test_what_openslide_cannot_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "slide.czi"
    path.write_bytes(b"ZISRAWFILE" + bytes(300))
    with pytest.raises(InputError, match="Zeiss CZI that cannot be read with OpenSlide"):
        open_slide(path)


def write_trestle(path: Path) -> None:
    """Tiles of 256 px that overlap by 64."""
    tifffile.imwrite(
        path,
        picture(512, 512),
        photometric="rgb",
        tile=(256, 256),
        compression="jpeg",
        software="MedScan 1.0",
        description="Objective Power=20;OverlapsXY= 64 64;Background Color=FFFFFF;",
        metadata=None,
    )


def test_overlapping_tiles_of_trestle_are_stitched(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_trestle(path)
    with open_slide(path) as ours, openslide.OpenSlide(str(path)) as theirs:
        assert ours.vendor == "trestle"
        assert ours.shape == theirs.dimensions[::-1] == (448, 448)
        expected = np.asarray(theirs.read_region((0, 0), 0, (448, 448)).convert("RGB"))
        np.testing.assert_array_equal(ours.read_region(0, 0, 448, 448), expected)


@pytest.mark.usefixtures("no_openslide")
def test_without_openslide_trestle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_trestle(path)
    with pytest.raises(InputError, match=r"Trestle.*install napari-nh2st\[openslide\]"):
        open_slide(path)


PHILIPS = """<?xml version="1.0" encoding="UTF-8" ?>
<DataObject ObjectType="DPUfsImport">
 <Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070"
  PMSVR="IString">PHILIPS</Attribute>
 <Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray">
  <Array><DataObject ObjectType="DPScannedImage">
   <Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004"
    PMSVR="IString">WSI</Attribute>
   <Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01"
    PMSVR="IDataObjectArray"><Array>{levels}</Array></Attribute>
  </DataObject></Array>
 </Attribute>
</DataObject>"""
PHILIPS_LEVEL = """<DataObject ObjectType="PixelDataRepresentation">
 <Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray"
 >&quot;{mm}&quot; &quot;{mm}&quot;</Attribute></DataObject>"""


def test_philips_is_read_as_openslide_reads_it(tmp_path: Path) -> None:
    """Its coarse levels are padded to whole tiles: the padding is no part of them."""
    path = tmp_path / "slide.tiff"
    pixels = tissue(1024, 1536)
    half = np.full((512, 1024, 3), 255, np.uint8)
    half[:, :768] = pixels[::2, ::2]
    levels = "".join(PHILIPS_LEVEL.format(mm=0.00025 * 2**level) for level in range(2))
    with tifffile.TiffWriter(path) as writer:
        write = partial(
            writer.write,
            photometric="rgb",
            tile=(512, 512),
            compression="jpeg",
            software="Philips DP v1.0",
            metadata=None,
        )
        write(pixels, description=PHILIPS.format(levels=levels))
        write(half, description="level=1", subfiletype=1)
    with open_slide(path) as ours, openslide.OpenSlide(str(path)) as theirs:
        assert theirs.properties["openslide.vendor"] == ours.vendor == "philips"
        shapes = tuple(level.shape[::-1] for level in ours.levels[: ours.n_native_levels])
        assert shapes == theirs.level_dimensions == ((1536, 1024), (768, 512))
        assert ours.mpp == pytest.approx((0.25, 0.25))
        for index, (width, height) in enumerate(theirs.level_dimensions):
            expected = np.asarray(theirs.read_region((0, 0), index, (width, height)))[..., :3]
            seen = ours.read_region(0, 0, height, width, level=index)
            assert np.abs(seen.astype(int) - expected).max() <= 3
