"""Files with several images: the largest brightfield one opens, others can be chosen."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from array_slides import tissue
from flat_slides import picture
from image_files import LARGE, SMALL, described, write_ome
from napari_nh2st.cli import main
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.inference.notices import slide_notices
from napari_nh2st.layers.reader import get_reader, read_slide
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.record import slide_record
from napari_nh2st.spots.sections import read_sections, write_sections


def whole(path: Path, image: int | str | None = None) -> NDArray[np.uint8]:
    with open_slide(path, image=image) as slide:
        return slide.levels[0].read(0, 0, *slide.shape)


@pytest.fixture
def ome(tmp_path: Path) -> Path:
    """Two brightfield images, a larger one of dyes, and a label that is larger still."""
    dyes = np.moveaxis(picture(700, 700, seed=3), -1, 0)
    channels = {"Name": ["DAPI", "FITC", "Cy5"]}
    return write_ome(
        tmp_path / "several.ome.tif",
        (SMALL, described("left", 0.25)),
        (LARGE, described("right", 0.5)),
        (dyes, described("stained", 0.5, "CYX", Channel=channels)),
        (picture(800, 800), described("label image", 1.0)),
    )


def test_the_largest_brightfield_image_opens(ome: Path) -> None:
    with open_slide(ome) as slide:
        assert slide.image == 1
        assert [image.name for image in slide.images] == ["left", "right", "stained"]
        assert [image.shape for image in slide.images] == [(300, 400), (512, 640), (700, 700)]
        assert [image.brightfield for image in slide.images] == [True, True, False]
        assert slide.mpp == (0.5, 0.5)
        assert slide.associated["label"].shape == (800, 800, 3)
    np.testing.assert_array_equal(whole(ome), LARGE)


@pytest.mark.parametrize("image", [0, "0", "left"])
def test_another_image_is_chosen_by_number_or_name(ome: Path, image: int | str) -> None:
    np.testing.assert_array_equal(whole(ome, image), SMALL)
    with open_slide(ome, image=image) as slide:
        assert slide.image == 0
        assert slide.mpp == (0.25, 0.25)
        assert slide.brightfield
    with open_slide(ome, image="stained") as slide:
        assert not slide.brightfield


def test_each_image_has_its_own_fingerprint(ome: Path, tmp_path: Path) -> None:
    found = []
    for image in (None, 0, 1, 2):
        with open_slide(ome, image=image) as slide:
            found.append(slide.fingerprint)
    assert found[0] == found[2]
    assert len(set(found)) == 3


@pytest.mark.parametrize("image", [3, -1, "middle", True])
def test_an_image_that_is_not_there_is_refused_with_those_there_are(ome: Path, image: Any) -> None:
    with pytest.raises(InputError, match=r"has no image .*0: 'left', 400 × 300 px; 1: 'right'"):
        open_slide(ome, image=image)


def test_a_file_of_one_image_has_number_0_alone(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", SMALL, photometric="rgb", metadata=None)
    np.testing.assert_array_equal(whole(tmp_path / "one.tif", 0), SMALL)
    with pytest.raises(InputError, match="has no image 1"):
        open_slide(tmp_path / "one.tif", image=1)


def test_images_of_one_name_are_chosen_by_number(tmp_path: Path) -> None:
    path = write_ome(
        tmp_path / "twins.ome.tif",
        (SMALL, described("a", 0.25)),
        (SMALL[::-1].copy(), described("a", 0.75)),
    )
    with pytest.raises(InputError, match="2 images named 'a'"):
        open_slide(path, image="a")
    # Of one size, too: each has its own µm/px.
    for number, mpp in enumerate((0.25, 0.75)):
        with open_slide(path, image=number) as slide:
            assert slide.mpp == (mpp, mpp)


@pytest.mark.parametrize("sizes", [(0.5, 1.0), (0.5, None), (0.5, 0.5)])
def test_levels_that_older_writers_made_images_of(
    tmp_path: Path, sizes: tuple[float, float | None]
) -> None:
    """A half is a level unless it has the µm/px of the whole: then it is other tissue."""
    parts = zip((LARGE, LARGE[::2, ::2].copy()), sizes, strict=True)
    images = [
        (pixels, {"axes": "YXS"} if mpp is None else described(f"slide #{mpp}", mpp))
        for pixels, mpp in parts
    ]
    with open_slide(write_ome(tmp_path / "flat.ome.tif", *images)) as slide:
        is_level = sizes[1] != 0.5
        assert slide.n_native_levels == (2 if is_level else 1)
        assert len(slide.images) == (1 if is_level else 2)


def test_a_damaged_image_is_not_passed_over_for_another(tmp_path: Path) -> None:
    path = write_ome(
        tmp_path / "cut.ome.tif", (SMALL, described("a", 0.5)), (LARGE, described("b", 0.5))
    )
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.series[1].keyframe.tags["TileOffsets"]
        where, n = tag.valueoffset, tag.count
    with path.open("r+b") as file:
        file.seek(where)
        file.write((10**9).to_bytes(4, "little") * n)
    with pytest.raises(InputError):
        open_slide(path)


LEICA_IMAGE = """<image name="{name}" uuid="{name}">
 <creationDate>2020-01-01</creationDate><device model="Leica SCN400" version="1"/>
 <scanSettings><objectiveSettings><objective>{objective}</objective></objectiveSettings>
  <illuminationSettings><illuminationSource>brightfield</illuminationSource>
  </illuminationSettings></scanSettings>
 <pixels sizeX="{width}" sizeY="{height}">
  <dimension sizeX="{width}" sizeY="{height}" r="0" ifd="{ifd}"/></pixels>
 <view sizeX="{nm_x}" sizeY="{nm_y}" offsetX="{at}" offsetY="{at}" spacingZ="0"/></image>"""


def test_regions_of_a_leica_collection(tmp_path: Path) -> None:
    """Two regions of tissue, the second larger; the macro shows the whole glass."""
    path = tmp_path / "regions.scn"
    macro = picture(256, 128, seed=4)
    parts = (("macro of it", macro, 0), ("one", SMALL, 1000), ("two", LARGE, 500_000))
    glass = (26_000_000, 76_000_000)
    images = "".join(
        LEICA_IMAGE.format(
            name=name,
            objective=20 if at else 0.6,
            width=pixels.shape[1],
            height=pixels.shape[0],
            ifd=ifd,
            nm_x=pixels.shape[1] * 500 if at else glass[0],
            nm_y=pixels.shape[0] * 500 if at else glass[1],
            at=at,
        )
        for ifd, (name, pixels, at) in enumerate(parts)
    )
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" sizeX="{glass[0]}" sizeY="{glass[1]}">{images}</collection></scn>'
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number, (_, pixels, _) in enumerate(parts):
            writer.write(
                pixels,
                photometric="rgb",
                tile=(128, 128),
                metadata=None,
                description=xml if number == 0 else None,
            )
    with open_slide(path) as slide:
        assert [image.name for image in slide.images] == ["one", "two"]
        assert slide.image == 1
        assert slide.mpp == pytest.approx((0.5, 0.5))
        np.testing.assert_array_equal(slide.associated["macro"], macro)
    np.testing.assert_array_equal(whole(path), LARGE)
    np.testing.assert_array_equal(whole(path, "one"), SMALL)


def test_unlike_pages_of_a_plain_tiff_are_images(tmp_path: Path) -> None:
    """A page marked as reduced, or of the shape of the main one, is none."""
    path = tmp_path / "pages.tif"
    options = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(LARGE, tile=(128, 128), **options)
        writer.write(LARGE[::2, ::2], tile=(128, 128), subfiletype=1, **options)
        writer.write(LARGE[::8, ::8], **options)  # a thumbnail, in strips
        writer.write(SMALL, tile=(128, 128), **options)
    with open_slide(path) as slide:
        assert [image.shape for image in slide.images] == [(512, 640), (300, 400)]
        assert slide.n_native_levels == 2
    np.testing.assert_array_equal(whole(path, 1), SMALL)


APERIO = "Aperio Image Library v11.2.1\r\n1536x1024 (256x256)|AppMag = 40|MPP = 0.2500"


def test_an_svs_without_a_thumbnail_keeps_its_second_level(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    pixels = tissue(1024, 1536)
    with tifffile.TiffWriter(path) as writer:
        write = partial(writer.write, photometric="rgb", metadata=None, software=False)
        for step in (1, 4, 16):
            write(pixels[::step, ::step], tile=(256, 256), description=APERIO)
        label = "Aperio Image Library v11.2.1\r\nlabel 200x300"
        write(pixels[:300, :200], rowsperstrip=16, subfiletype=1, description=label)
    with open_slide(path) as slide:
        shapes = [level.shape for level in slide.levels[: slide.n_native_levels]]
        assert shapes == [(1024, 1536), (256, 384), (64, 96)]
        for level, step in zip(slide.levels, (1, 4, 16), strict=False):
            np.testing.assert_array_equal(level.read(0, 0, *level.shape), pixels[::step, ::step])
        assert set(slide.associated) == {"label"}
        assert slide.notices == ()
        assert slide.mpp == (0.25, 0.25)


@pytest.mark.parametrize("below", [False, True])
def test_an_svs_converted_by_vips_keeps_its_pyramid(tmp_path: Path, below: bool) -> None:
    """Levels are marked as reduced, or lie below the first page; all keep Aperio's words."""
    path = tmp_path / "slide.tif"
    pixels = tissue(1024, 1536)
    with tifffile.TiffWriter(path) as writer:
        write = partial(
            writer.write, photometric="rgb", metadata=None, tile=(256, 256), description=APERIO
        )
        write(pixels, subifds=3 if below else None)
        for level in (1, 2, 3):
            write(pixels[:: 2**level, :: 2**level], subfiletype=1)
    with open_slide(path) as slide:
        shapes = [level.shape for level in slide.levels[: slide.n_native_levels]]
        assert shapes == [(1024, 1536), (512, 768), (256, 384), (128, 192)]
        np.testing.assert_array_equal(slide.levels[3].read(0, 0, 128, 192), pixels[::8, ::8])
        assert slide.notices == ()
        assert len(slide.images) == 1


def write_series(folder: Path, listed: bool, version: int) -> Path:
    """As bioformats2raw lays out a file with two images and a label; the XML names them."""
    root = zarr.open_group(folder, mode="w", zarr_format=version)
    about = {"bioformats2raw.layout": 3}
    root.attrs.update(about if version == 2 else {"ome": {"version": "0.5", **about}})
    axes = [{"name": n, "type": "channel" if n == "c" else "space"} for n in "cyx"]
    for number, pixels in enumerate((SMALL, LARGE, picture(700, 700))):
        group = root.create_group(str(number))
        group.create_array("0", data=np.moveaxis(pixels, -1, 0), chunks=(3, 128, 128))
        multiscales = [{"axes": axes, "datasets": [{"path": "0"}], "version": "0.4"}]
        holder = {"multiscales": multiscales}
        group.attrs.update(holder if version == 2 else {"ome": {"version": "0.5", **holder}})
    other = root.create_group("OME")
    if listed:
        series = {"series": ["0", "1", "2"]}
        other.attrs.update(series if version == 2 else {"ome": {"version": "0.5", **series}})
    names = "".join(f'<Image ID="i{n}" Name="{n}"/>' for n in ("one", "two", "label image"))
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{names}</OME>'
    (folder / "OME" / "METADATA.ome.xml").write_text(xml, encoding="utf-8")
    return folder


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("listed", [True, False])
def test_series_of_bioformats2raw(tmp_path: Path, listed: bool, version: int) -> None:
    path = write_series(tmp_path / "slide.zarr", listed, version)
    with open_slide(path) as slide:
        assert slide.image == 1
        assert [image.name for image in slide.images] == ["one", "two"]
        assert slide.associated["label"].shape == (700, 700, 3)
        fingerprint = slide.fingerprint
    np.testing.assert_array_equal(whole(path), LARGE)
    np.testing.assert_array_equal(whole(path, "one"), SMALL)
    with open_slide(path, image=0) as slide:
        assert slide.fingerprint != fingerprint
    with pytest.raises(InputError, match="has no image 'three'"):
        open_slide(path, image="three")


# What is said of it, and what remembers it


def test_info_lists_the_images(ome: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(ome)]) == 0
    table = capsys.readouterr().out
    for words in ("image 0", "'left', 400 × 300 px", "'stained', 700 × 700 px, not brightfield"):
        assert words in table
    assert main(["info", str(ome), "--image", "left", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["image"] == 0
    assert (said["height"], said["width"]) == (300, 400)
    assert said["images"][2] == {
        "name": "stained",
        "height": 700,
        "width": 700,
        "brightfield": False,
    }
    assert main(["info", str(ome), "--image", "7"]) == 2
    assert "has no image '7'" in capsys.readouterr().err


def test_a_notice_says_what_else_is_in_the_file(ome: Path) -> None:
    with open_slide(ome) as slide:
        (notice,) = slide_notices(slide)
    assert notice.startswith("The file has 3 images. This is 1 ('right', 640 × 512 px)")
    assert "0: 'left'" in notice
    assert "2: 'stained'" in notice


@pytest.mark.napari
def test_napari_opens_the_main_image_and_says_so(
    ome: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("napari")
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_info", said.append)
    reader = get_reader(str(ome))
    assert reader is not None
    ((data, attributes, _),) = reader(str(ome))
    assert (data[0] if isinstance(data, list) else data).shape == (512, 640, 3)
    assert attributes["name"] == "several.ome [right]"
    assert len(said) == 1
    assert "3 images" in said[0]
    ((data, attributes, _),) = read_slide(ome, image="left")
    assert (data[0] if isinstance(data, list) else data).shape == (300, 400, 3)


def test_a_prediction_remembers_its_image(ome: Path) -> None:
    with open_slide(ome, image="left") as slide:
        record = slide_record(slide)
    assert (record["image"], record["image_name"]) == (0, "left")
    with open_slide(record["path"], image=record["image"]) as slide:
        assert slide.fingerprint == record["fingerprint"]


def test_a_prediction_is_reopened_on_its_image(ome: Path, tmp_path: Path) -> None:
    pytest.importorskip("napari")
    from drawn_predictions import drawn_prediction

    with open_slide(ome, image="left") as slide:
        export(drawn_prediction(slide), tmp_path / "p.h5ad")
    reader = get_reader(str(tmp_path / "p.h5ad"))
    assert reader is not None
    names = [attributes["name"] for _, attributes, _ in reader(str(tmp_path / "p.h5ad"))]
    assert names[0] == "several.ome [left]"


def test_a_sections_table_names_the_image(ome: Path, tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("", encoding="utf-8")
    (tmp_path / "p.tsv").write_text("", encoding="utf-8")
    table = tmp_path / "sections.csv"
    table.write_text(
        "section_id,donor_id,slide,expression,positions,image\n"
        "a,d,several.ome.tif,c.tsv,p.tsv,left\n"
        "b,e,several.ome.tif,c.tsv,p.tsv,\n",
        encoding="utf-8",
    )
    sections = read_sections(table)
    assert [section.image for section in sections] == ["left", None]
    write_sections(sections, tmp_path / "again.csv")
    assert read_sections(tmp_path / "again.csv") == sections
