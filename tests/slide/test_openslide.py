"""Our readers and OpenSlide agree on real slides; OpenSlide reads what they do not."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_nh2st.errors import SegmentError
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.openslide_backend import open_with_openslide
from napari_nh2st.slide.slide import Slide

openslide = pytest.importorskip("openslide")


@pytest.mark.parametrize(
    ("name", "atol"),
    [("CMU-1-Small-Region.svs", 2), ("boxes.tiff", 0)],
)
def test_pixels_agree(test_data: Path, name: str, atol: int) -> None:
    path = test_data / "slides" / name
    with open_slide(path) as ours, openslide.OpenSlide(str(path)) as theirs:
        n_levels = theirs.level_count
        assert ours.n_native_levels == n_levels
        for index in range(n_levels):
            width, height = theirs.level_dimensions[index]
            assert ours.levels[index].shape == (height, width)
            expected = np.asarray(theirs.read_region((0, 0), index, (width, height)))
            seen = ours.read_region(0, 0, height, width, level=index)
            difference = np.abs(seen.astype(int) - expected[..., :3])
            assert difference.max() <= atol
            assert ours.downsamples[index][0] == pytest.approx(
                theirs.level_downsamples[index], rel=0.02
            )


def write_svs(path: Path) -> None:
    """A small SVS in the order of pages that Aperio writes."""
    y, x = np.mgrid[:1024, :1536]
    planes = [127 + 120 * np.sin(y / (40 + i)) * np.cos(x / (50 + i)) for i in range(3)]
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    head = "Aperio Image Library v11.2.1\r\n1536x1024"
    jpeg = {"photometric": "rgb", "compression": "jpeg", "metadata": None, "software": False}
    with tifffile.TiffWriter(path) as writer:
        write = partial(writer.write, **jpeg)
        write(pixels, tile=(256, 256), description=f"{head} (256x256)|AppMag = 40|MPP = 0.2500")
        write(pixels[::8, ::8], rowsperstrip=16, description=f"{head} -> 192x128 -|AppMag = 40")
        write(pixels[::4, ::4], tile=(256, 256), description=f"{head} -> 384x256|AppMag = 40")
        write(
            pixels[:300, :200],
            rowsperstrip=16,
            subfiletype=1,
            description="Aperio Image Library v11.2.1\r\nlabel 200x300",
        )
        write(
            pixels[:100, :400],
            rowsperstrip=16,
            subfiletype=9,
            description="Aperio Image Library v11.2.1\r\nmacro 400x100",
        )


def test_svs_pyramid_agrees(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path)
    with open_slide(path) as ours, openslide.OpenSlide(str(path)) as theirs:
        assert theirs.properties["openslide.vendor"] == ours.vendor == "aperio"
        shapes = [level.shape[::-1] for level in ours.levels[: ours.n_native_levels]]
        assert tuple(shapes) == theirs.level_dimensions
        assert ours.mpp == (0.25, 0.25)
        for index, size in enumerate(theirs.level_dimensions):
            expected = np.asarray(theirs.read_region((0, 0), index, size))[..., :3].astype(int)
            seen = ours.read_region(0, 0, size[1], size[0], level=index)
            assert np.abs(seen - expected).max() <= 3
        assert {name: image.shape[1::-1] for name, image in ours.associated.items()} == {
            name: image.size for name, image in theirs.associated_images.items()
        }


LEICA = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="u">
 <collection name="c" sizeX="1000000" sizeY="2000000">
  <image name="macro" uuid="u1">
   <creationDate>2020-01-01</creationDate><device model="Leica SCN400" version="1"/>
   <scanSettings><objectiveSettings><objective>0.6</objective></objectiveSettings>
    <illuminationSettings><illuminationSource>brightfield</illuminationSource>
    </illuminationSettings></scanSettings>
   <pixels sizeX="256" sizeY="512">
    <dimension sizeX="256" sizeY="512" r="0" ifd="0"/></pixels>
   <view sizeX="1000000" sizeY="2000000" offsetX="0" offsetY="0" spacingZ="0"/>
  </image>
  <image name="main" uuid="u2">
   <creationDate>2020-01-01</creationDate><device model="Leica SCN400" version="1"/>
   <scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>
    <illuminationSettings><illuminationSource>brightfield</illuminationSource>
    </illuminationSettings></scanSettings>
   <pixels sizeX="1536" sizeY="1024">
    <dimension sizeX="1536" sizeY="1024" r="0" ifd="1"/>
    <dimension sizeX="384" sizeY="256" r="1" ifd="2"/></pixels>
   <view sizeX="768000" sizeY="512000" offsetX="0" offsetY="0" spacingZ="0"/>
  </image>
 </collection>
</scn>"""


def test_scn_main_image_macro_and_resolution(tmp_path: Path) -> None:
    """The main image is the second; the first is the macro."""
    path = tmp_path / "slide.scn"
    pixels = np.random.default_rng(0).integers(0, 255, (1024, 1536, 3), np.uint8)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for index, part in enumerate((pixels[:512, :256], pixels, pixels[::4, ::4])):
            writer.write(
                part,
                photometric="rgb",
                tile=(256, 256),
                compression="zlib",
                metadata=None,
                description=LEICA if index == 0 else None,
            )
    with open_slide(path) as slide:
        assert slide.vendor == "leica"
        assert slide.mpp == pytest.approx((0.5, 0.5))
        assert slide.mpp_source == "Leica view size"
        assert [level.shape for level in slide.levels] == [(1024, 1536), (256, 384)]
        np.testing.assert_array_equal(slide.read_region(100, 200, 50, 60), pixels[100:150, 200:260])
        np.testing.assert_array_equal(slide.associated["macro"], pixels[:512, :256])


def test_resolution_and_associated_images_agree(test_data: Path) -> None:
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    with open_slide(path) as ours, openslide.OpenSlide(str(path)) as theirs:
        assert ours.mpp is not None
        assert ours.mpp[0] == float(theirs.properties["openslide.mpp-y"])
        assert set(ours.associated) == set(theirs.associated_images)
        for name, image in theirs.associated_images.items():
            expected = np.asarray(image)[..., :3].astype(int)
            assert np.abs(ours.associated[name] - expected).max() <= 2


def test_backend_reads_like_openslide(test_data: Path) -> None:
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    with Slide(path, open_with_openslide(path)) as ours, openslide.OpenSlide(str(path)) as theirs:
        assert ours.vendor == "aperio"
        assert ours.mpp == (0.499, 0.499)
        assert set(ours.associated) == {"label", "macro", "thumbnail"}
        assert ours.associated["label"].shape == (463, 387, 3)
        expected = np.asarray(theirs.read_region((900, 1000), 0, (400, 300)))[..., :3]
        np.testing.assert_array_equal(ours.read_region(1000, 900, 300, 400), expected)


def test_closed_slide_cannot_be_read(test_data: Path) -> None:
    path = test_data / "slides" / "boxes.tiff"
    with Slide(path, open_with_openslide(path)) as slide:
        pass
    for _ in range(2):
        with pytest.raises(SegmentError):
            slide.levels[0].read_segment(0, 0)


def test_pixels_openslide_calls_transparent_are_white(test_data: Path) -> None:
    path = test_data / "slides" / "boxes.tiff"
    with Slide(path, open_with_openslide(path)) as slide:
        assert (slide.read_region(240, 290, 20, 20)[10:, 10:] == 255).all()
