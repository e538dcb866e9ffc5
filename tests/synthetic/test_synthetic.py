"""The synthetic slide: the same by seed and region, and colored as its own fields say."""

import hashlib
from itertools import pairwise
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

from napari_nh2st.errors import InputError
from napari_nh2st.synthetic import NucleusClass, SyntheticTissue, write_synthetic_slide

SHAPE = (1536, 2048)
MPP = 0.5
PER_FIELD = 16  # slide pixels along a field pixel: 8 µm at 0.5 µm/px


@pytest.fixture(scope="module")
def tissue() -> SyntheticTissue:
    return SyntheticTissue(seed=5, shape=SHAPE, mpp=MPP)


@pytest.fixture(scope="module")
def picture(tissue: SyntheticTissue) -> NDArray[np.uint8]:
    return tissue.render(0, 0, *SHAPE)


@pytest.fixture(scope="module")
def hed(picture: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Haematoxylin, eosin and rest by scikit-image's own color deconvolution."""
    return rgb2hed(picture)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "synthetic.tiff"
    marks = [(700, 401, 130, (255, 255, 0)), (1000, -5, 20, (0, 255, 255))]
    return write_synthetic_slide(path, seed=5, shape=(1501, 1103), mpp=0.25, marks=marks)


def drawn_out(field: NDArray[np.floating]) -> NDArray[np.floating]:
    """A field at the slide's resolution, without interpolation."""
    whole = field.repeat(PER_FIELD, axis=0).repeat(PER_FIELD, axis=1)
    return whole[: SHAPE[0], : SHAPE[1]]


def digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


class TestRepeatability:
    def test_the_same_seed_draws_the_same_pixels(self) -> None:
        first, second = (
            digest(SyntheticTissue(seed=3, shape=(800, 800)).render(100, 200, 300, 300))
            for _ in range(2)
        )
        assert first == second

    def test_another_seed_draws_another_tissue(self) -> None:
        one, other = (SyntheticTissue(seed=s, shape=(800, 800)) for s in (3, 4))
        assert digest(one.render(200, 200, 300, 300)) != digest(other.render(200, 200, 300, 300))
        assert len(one.nuclei) != len(other.nuclei) or (one.nuclei != other.nuclei).any()

    @pytest.mark.parametrize(
        ("y", "x", "height", "width"),
        [(0, 0, 10, 10), (500, 500, 30, 40), (1023, 3, 2, 1500), (1400, 1900, 136, 148)],
    )
    def test_a_region_is_the_crop_of_the_whole(
        self,
        tissue: SyntheticTissue,
        picture: NDArray[np.uint8],
        y: int,
        x: int,
        height: int,
        width: int,
    ) -> None:
        region = tissue.render(y, x, height, width)
        np.testing.assert_array_equal(region, picture[y : y + height, x : x + width])

    def test_no_seam_shows_between_blocks(
        self, tissue: SyntheticTissue, picture: NDArray[np.uint8]
    ) -> None:
        inside = drawn_out(tissue.fields.tissue) == 1
        grey = picture.astype(np.float64).mean(axis=2)
        steps = np.abs(np.diff(grey, axis=0))
        steps[~inside[1:]] = np.nan
        at_seams = np.nanmean(steps[[511, 1023]])
        elsewhere = np.nanmean(steps[[300, 500, 530, 700, 900, 1040]])
        assert at_seams == pytest.approx(elsewhere, rel=0.25)

    def test_glass_goes_on_beyond_the_edges(self, tissue: SyntheticTissue) -> None:
        assert tissue.render(-700, -700, 20, 20).min() > 230

    def test_a_shape_without_pixels_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 1 × 1 px"):
            SyntheticTissue(shape=(0, 100))

    @pytest.mark.parametrize("shape", [(1, 1), (10, 900), (513, 300)])
    def test_any_size_can_be_drawn(self, shape: tuple[int, int]) -> None:
        assert SyntheticTissue(shape=shape).render(0, 0, *shape).shape == (*shape, 3)


class TestFields:
    def test_a_field_is_read_at_its_pixels_centres(self, tissue: SyntheticTissue) -> None:
        """A field that says where it is, which both interpolations have to repeat exactly."""
        fields = tissue.fields
        rows, columns = (
            ((np.arange(n) + 0.5) * fields.mpp).astype(np.float32) for n in fields.density.shape
        )
        row_of, column_of = np.broadcast_arrays(rows[:, None], columns[None, :])
        y, x = np.array([103.3, 200.0, 311.7]), np.array([96.0, 500.5, 250.25])
        np.testing.assert_allclose(fields.at(row_of, y, x), y, rtol=1e-4)
        np.testing.assert_allclose(fields.at(column_of, y, x), x, rtol=1e-4)
        np.testing.assert_allclose(fields.over(row_of, y, x), y[:, None] + 0 * x, rtol=1e-4)
        np.testing.assert_allclose(fields.over(column_of, y, x), x + 0 * y[:, None], rtol=1e-4)

    def test_compartments_share_out_the_tissue(self, tissue: SyntheticTissue) -> None:
        fields = tissue.fields
        parts = fields.nest + fields.lumen + fields.stroma
        np.testing.assert_allclose(parts, fields.tissue, atol=1e-5)
        assert min(p.min() for p in (fields.nest, fields.lumen, fields.stroma)) >= 0
        assert 0.25 < fields.nest.sum() / fields.tissue.sum() < 0.5


class TestColors:
    def test_glass_absorbs_next_to_nothing(
        self, tissue: SyntheticTissue, picture: NDArray[np.uint8]
    ) -> None:
        glass = picture[drawn_out(tissue.fields.tissue_level) < -20]
        assert len(glass) > 10_000
        density = -np.log10(glass / 255)
        assert density.mean() < 0.03
        assert density.max() < 0.06

    def test_lumens_are_near_white(
        self, tissue: SyntheticTissue, picture: NDArray[np.uint8]
    ) -> None:
        lumen = picture[drawn_out(tissue.fields.lumen_level) > 5]
        assert len(lumen) > 1_000
        assert np.median(lumen, axis=0).min() > 220

    def test_nests_hold_more_haematoxylin_than_stroma_and_stroma_more_eosin_than_glass(
        self, tissue: SyntheticTissue, hed: NDArray[np.floating]
    ) -> None:
        fields = tissue.fields
        nest = hed[drawn_out(fields.nest) == 1].mean(axis=0)
        stroma = hed[drawn_out(fields.stroma * (fields.lymphoid == 0)) == 1].mean(axis=0)
        glass = hed[drawn_out(fields.tissue_level) < -20].mean(axis=0)
        assert nest[0] > 1.5 * stroma[0]
        assert stroma[1] > 5 * abs(glass[1])

    def test_thresholded_haematoxylin_follows_the_programmed_density(
        self, tissue: SyntheticTissue, hed: NDArray[np.floating]
    ) -> None:
        side = 128  # 64 µm
        haematoxylin = hed[..., 0]
        nuclear = haematoxylin > threshold_otsu(haematoxylin)
        tiles = (SHAPE[0] // side, side, SHAPE[1] // side, side)
        measured = nuclear.reshape(tiles).mean(axis=(1, 3))
        programmed = drawn_out(tissue.fields.density).reshape(tiles).mean(axis=(1, 3))
        assert np.corrcoef(measured.ravel(), programmed.ravel())[0, 1] > 0.9

    def test_each_tumour_nucleus_is_darker_than_the_cytoplasm_around_it(
        self, tissue: SyntheticTissue, hed: NDArray[np.floating]
    ) -> None:
        """Holds only if the table's positions are those of the picture."""
        nuclei = tissue.nuclei[tissue.nuclei["class"] == NucleusClass.TUMOUR]
        at = hed[nuclei["y"].astype(int), nuclei["x"].astype(int), 0]
        nest = hed[..., 0][drawn_out(tissue.fields.nest) == 1]
        assert (at > np.median(nest)).mean() > 0.95


class TestNuclei:
    def test_their_number_is_the_one_programmed(self, tissue: SyntheticTissue) -> None:
        field_pixel = (tissue.fields.mpp / 1000) ** 2  # mm²
        programmed = tissue.fields.density.sum() * field_pixel
        assert len(tissue.nuclei) == pytest.approx(programmed, rel=0.15)

    def test_none_lies_outside_the_tissue_or_in_a_lumen(self, tissue: SyntheticTissue) -> None:
        y, x = (tissue.nuclei[axis] * MPP for axis in "yx")
        assert (tissue.fields.at(tissue.fields.tissue_level, y, x) > 0).all()
        assert (tissue.fields.at(tissue.fields.lumen_level, y, x) < 0).all()

    def test_tumour_nuclei_are_larger_than_lymphocytes_and_keep_their_distance(
        self, tissue: SyntheticTissue
    ) -> None:
        nuclei = tissue.nuclei
        tumour, lymphocytes = (
            nuclei[nuclei["class"] == kind]
            for kind in (NucleusClass.TUMOUR, NucleusClass.LYMPHOCYTE)
        )
        assert np.median(tumour["radius"]) > 1.3 * np.median(lymphocytes["radius"])
        y, x = (tumour[axis][:300] * MPP for axis in "yx")
        gaps = np.hypot(y[:, None] - y, x[:, None] - x)
        np.fill_diagonal(gaps, np.inf)
        assert gaps.min() > 4.0  # µm

    def test_sizes_are_in_micrometres_whatever_the_resolution(self) -> None:
        fine, coarse = (SyntheticTissue(2, (n, n), mpp) for n, mpp in ((1600, 0.25), (400, 1.0)))
        np.testing.assert_allclose(fine.nuclei["y"] * 0.25, coarse.nuclei["y"] * 1.0)
        np.testing.assert_array_equal(fine.nuclei["radius"], coarse.nuclei["radius"])


class TestWrittenSlide:
    def test_the_finest_level_is_the_tissue_drawn(self, slide: Path) -> None:
        expected = SyntheticTissue(5, (1501, 1103), 0.25).render(0, 0, 600, 1103)
        written = tifffile.imread(slide, key=0)
        assert written.shape == (1501, 1103, 3)
        error = np.abs(written[:600].astype(int) - expected).mean()
        assert error < 3  # JPEG's own

    def test_levels_halve_by_area_down_to_512(self, slide: Path) -> None:
        with tifffile.TiffFile(slide) as tiff:
            levels = [page.asarray() for page in tiff.pages]
            assert [page.subfiletype for page in tiff.pages] == [0, 1, 1]
            assert all(page.compression == tifffile.COMPRESSION.JPEG for page in tiff.pages)
            assert all(page.is_tiled for page in tiff.pages)
        assert [level.shape[:2] for level in levels] == [(1501, 1103), (751, 552), (376, 276)]
        for finer, coarser in pairwise(levels):
            rows, columns = (n // 2 for n in finer.shape[:2])
            halves = finer[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3)
            difference = coarser[:rows, :columns] - halves.mean(axis=(1, 3))
            assert np.abs(difference).mean() < 3
            assert abs(difference.mean()) < 0.5

    def test_a_mark_lies_where_it_was_asked_for_on_every_level(self, slide: Path) -> None:
        for level, downsample in enumerate((1, 2, 4)):
            pixels = tifffile.imread(slide, key=level).astype(int)
            yellow = (pixels[..., :2].min(axis=2) - pixels[..., 2]).clip(0) / 255
            yellow[yellow < 0.1] = 0
            rows, columns = np.indices(yellow.shape) + 0.5
            centre = [np.average(axis, weights=yellow) * downsample for axis in (rows, columns)]
            np.testing.assert_allclose(centre, [700 + 65, 401 + 65], atol=0.5)
            assert yellow.sum() * downsample**2 == pytest.approx(130**2, rel=0.05)

    def test_a_mark_across_the_edge_is_cut_off_there(self, slide: Path) -> None:
        pixels = tifffile.imread(slide, key=0)
        np.testing.assert_allclose(pixels[1010, 5], [0, 255, 255], atol=12)
        assert pixels[1010, 1095:].min() > 200  # not at the other side

    def test_the_tags_say_its_resolution_and_that_it_is_synthetic(self, slide: Path) -> None:
        with tifffile.TiffFile(slide) as tiff:
            page = tiff.pages[0]
            assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
            for axis in "XY":
                pixels, centimetres = page.tags[f"{axis}Resolution"].value
                assert 1e4 * centimetres / pixels == pytest.approx(0.25)
            assert "Synthetic" in page.description

    def test_openslide_reads_it_as_a_pyramid(self, slide: Path) -> None:
        openslide = pytest.importorskip("openslide")
        with openslide.OpenSlide(str(slide)) as opened:
            assert opened.level_dimensions == ((1103, 1501), (552, 751), (276, 376))
            assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(0.25)

    def test_a_failure_leaves_the_earlier_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "slide.tiff"
        earlier = write_synthetic_slide(path, 1, shape=(300, 300)).read_bytes()

        def full_disk(*args: object, **options: object) -> bytes:
            raise OSError("No space left on device")

        monkeypatch.setattr(imagecodecs, "jpeg8_encode", full_disk)
        with pytest.raises(InputError, match="No space left"):
            write_synthetic_slide(path, shape=(300, 300))
        assert path.read_bytes() == earlier
        assert list(tmp_path.iterdir()) == [path]
