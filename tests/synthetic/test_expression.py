"""Expression of the synthetic tissue: it follows what it says, and the noise is what it says."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.color import rgb2hed

import napari_nh2st.synthetic
from napari_nh2st.errors import InputError
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import (
    Section,
    check_counts,
    check_section,
    expression_target,
    read_sections,
    read_spots,
    spot_array,
)
from napari_nh2st.synthetic import (
    NucleusClass,
    ProgrammeSettings,
    SyntheticTissue,
    synthetic_spots,
    true_target,
    write_synthetic_section,
    write_synthetic_study,
    write_synthetic_visium,
)
from spot_sections import assert_same_spots

SEEDS = (11, 12)
FIELD_PX = 20  # along a tile of 160 µm

ALIGNED = ProgrammeSettings(pitch_um=160, tile_um=160)
"""Tiles of a tissue of 3200 µm begin and end at pixels of its fields."""

EXACT = ProgrammeSettings(depth_spread=0, dispersion=0, dropout=0)


@pytest.fixture(scope="module")
def tissue() -> SyntheticTissue:
    return SyntheticTissue(seed=3, shape=(3200, 3200), mpp=1.0)


@pytest.fixture(scope="module")
def spots(tissue: SyntheticTissue) -> AnnData:
    return synthetic_spots(tissue, ALIGNED)


@pytest.fixture(scope="module")
def wide() -> SyntheticTissue:
    """Never drawn: for its many spots."""
    return SyntheticTissue(seed=7, shape=(2200, 2200), mpp=5.0)


@pytest.fixture(scope="module")
def many(wide: SyntheticTissue) -> AnnData:
    return synthetic_spots(wide)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "synthetic"
    return write_synthetic_study(folder, SEEDS, donors=("A", "A"), size_um=(2000, 2300))


@pytest.fixture(scope="module")
def section(study: Path) -> Section:
    return read_sections(study)[0]


def of_programme(spots: AnnData, programme: str) -> NDArray[np.bool_]:
    return (spots.var["programme"] == programme).to_numpy()


def level(spots: AnnData, programme: str) -> NDArray[np.float64]:
    return spots.obsm["programmes"][programme].to_numpy()


def block_means(field: NDArray[np.floating], spots: AnnData) -> NDArray[np.float64]:
    """Means over the aligned tiles of the spots, by their place on the array."""
    n = len(field) // FIELD_PX
    blocks = field.astype(np.float64).reshape(n, FIELD_PX, n, FIELD_PX).mean(axis=(1, 3))
    return blocks[spots.obs["array_row"], spots.obs["array_col"]]


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.corrcoef(a, b)[0, 1])


class TestRepeatability:
    def test_the_same_seeds_give_the_same_counts(self, tissue: SyntheticTissue) -> None:
        one, other = (synthetic_spots(tissue) for _ in range(2))
        assert_same_spots(one, other)
        np.testing.assert_array_equal(one.layers["truth_rate"], other.layers["truth_rate"])

    def test_genes_are_the_same_in_all_tissues_of_a_study(self) -> None:
        one, other = (synthetic_spots(SyntheticTissue(s, (3000, 3000), 1.0)) for s in (1, 2))
        assert one.var.equals(other.var)
        null = of_programme(one, "null")
        np.testing.assert_array_equal(
            one.layers["truth_rate"][0, null], other.layers["truth_rate"][0, null]
        )
        assert one.shape != other.shape or (one.X != other.X).nnz

    @pytest.mark.parametrize("other", [-3, 4])
    def test_each_tissue_has_noise_of_its_own(self, other: int) -> None:
        """Seen in the depth, which follows nothing else and is drawn spot by spot."""
        depths = [
            np.log(synthetic_spots(SyntheticTissue(seed, (3000, 3000), 1.0)).X.sum(1))[:100]
            for seed in (3, other)
        ]
        assert abs(correlation(*map(np.ravel, depths))) < 0.3

    def test_the_truth_does_not_depend_on_the_resolution(self) -> None:
        fine, coarse = (
            synthetic_spots(SyntheticTissue(2, (n, n), mpp))
            for n, mpp in ((6000, 0.5), (1500, 2.0))
        )
        np.testing.assert_array_equal(fine.layers["truth_rate"], coarse.layers["truth_rate"])
        np.testing.assert_allclose(fine.obsm["spatial"] * 0.5, coarse.obsm["spatial"] * 2.0)


class TestProgrammes:
    def test_compartments_are_means_over_the_spots_tile(
        self, tissue: SyntheticTissue, spots: AnnData
    ) -> None:
        fields = tissue.fields
        assert len(spots) > 150
        assert block_means(fields.tissue, spots).min() > 0.89
        stroma = fields.stroma * (1 - fields.lymphoid)
        for programme, field in (("nests", fields.nest), ("stroma", stroma)):
            np.testing.assert_allclose(
                level(spots, programme), block_means(field, spots), atol=1e-5
            )
            assert np.ptp(level(spots, programme)) > 0.8  # varies in this tissue

    def test_density_is_that_of_the_nuclei_placed(
        self, tissue: SyntheticTissue, spots: AnnData
    ) -> None:
        nuclei = tissue.nuclei
        tiles = KDTree(np.column_stack([nuclei["x"], nuclei["y"]])).query_ball_point(
            spots.obsm["spatial"], 80, p=np.inf
        )
        number = np.array([len(tile) for tile in tiles])
        per_mm2 = number / 0.16**2
        expected = np.clip((per_mm2 - 1150) / (7000 - 1150), 0, 1)
        assert correlation(level(spots, "density"), expected) > 0.95
        assert np.abs(level(spots, "density") - expected).mean() < 0.1
        tumour = [
            np.mean(nuclei["class"][tile] == NucleusClass.TUMOUR) if tile else 0 for tile in tiles
        ]
        assert correlation(level(spots, "nests"), np.array(tumour)) > 0.8

    def test_boundary_falls_with_the_distance_to_it(
        self, tissue: SyntheticTissue, spots: AnnData
    ) -> None:
        nest = tissue.fields.nest_level > 0
        places = np.argwhere(nest), np.argwhere(~nest)
        distance = np.empty(nest.shape)
        for own, other in (places, places[::-1]):
            distance[tuple(own.T)] = KDTree(other).query(own)[0]
        near = np.exp(-(distance - 0.5) * 8 / 35)
        expected = np.clip((block_means(near, spots) - 0.2) / 0.4, 0, 1)
        np.testing.assert_allclose(level(spots, "boundary"), expected, atol=1e-5)

    def test_neighbors_genes_follow_the_tiles_around_and_not_their_own(
        self, spots: AnnData
    ) -> None:
        at = {
            (row, column): share
            for row, column, share in zip(
                spots.obs["array_row"], spots.obs["array_col"], level(spots, "nests"), strict=True
            )
        }
        expected = []
        for row, column in at:
            around = [
                at[row + down, column + across]
                for down in (-1, 0, 1)
                for across in (-1, 0, 1)
                if (down, across) != (0, 0) and (row + down, column + across) in at
            ]
            expected.append(min(max((sum(around) / len(around) - 0.1) / 0.6, 0), 1))
        np.testing.assert_allclose(level(spots, "neighbors"), expected, atol=1e-9)

    def test_the_own_tile_tells_little_of_its_neighbors(self) -> None:
        """At the default pitch, so that a context can show what it is good for."""
        for seed in (1, 2, 3):
            spots = synthetic_spots(SyntheticTissue(seed, (3000, 3000), 1.0))
            assert correlation(level(spots, "neighbors"), level(spots, "nests")) < 0.7

    @pytest.mark.parametrize("programme", ["density", "nests", "stroma", "boundary", "neighbors"])
    def test_programmed_genes_are_linear_in_their_level(
        self, spots: AnnData, programme: str
    ) -> None:
        genes = of_programme(spots, programme)
        directions = spots.var["direction"][genes]
        assert (directions == 1).sum() == (directions == -1).sum() == 8
        for rate, direction in zip(spots.layers["truth_rate"][:, genes].T, directions, strict=True):
            slope, start = np.polyfit(level(spots, programme), rate, 1)
            np.testing.assert_allclose(start + slope * level(spots, programme), rate, rtol=1e-3)
            ends = sorted((start, start + slope))
            assert ends[1] / ends[0] == pytest.approx(10, rel=1e-3)
            assert np.sign(slope) == direction

    def test_null_genes_have_the_same_share_everywhere(self, spots: AnnData) -> None:
        rates = spots.layers["truth_rate"]
        np.testing.assert_allclose(rates.sum(1), 2000, rtol=1e-5)
        null = of_programme(spots, "null")
        for smoothed in (False, True):
            target = true_target(spots, list(spots.var_names), smoothed=smoothed)
            assert np.ptp(target[:, null], axis=0).max() < 1e-4
            assert np.ptp(target[:, ~null], axis=0).min() > 0.2


class TestMeasurement:
    def test_without_noise_the_target_is_the_true_one(self, tissue: SyntheticTissue) -> None:
        spots = synthetic_spots(tissue, replace(EXACT, depth=3e8))
        panel = list(spots.var_names[::-3])
        for smoothed in (False, True):
            np.testing.assert_allclose(
                expression_target(spots, panel, smoothed=smoothed),
                true_target(spots, panel, smoothed=smoothed),
                atol=0.005,
            )

    def test_counts_average_to_the_truth(self, wide: SyntheticTissue) -> None:
        spots = synthetic_spots(wide, ProgrammeSettings(depth_spread=0, depth=500, dropout=1))
        residuals = spots.X.toarray() - spots.layers["truth_rate"]
        error = residuals.std(0) / np.sqrt(len(residuals))
        scores = residuals.mean(0) / error
        assert len(spots) > 1500
        assert np.abs(scores).max() < 4.5
        assert 0.6 < np.mean(scores**2) < 1.5

    def test_counts_have_the_spread_of_a_negative_binomial(self, wide: SyntheticTissue) -> None:
        spots = synthetic_spots(wide, ProgrammeSettings(depth_spread=0, dispersion=0.2, dropout=0))
        counts = spots.X.toarray()[:, of_programme(spots, "null")]
        mean = counts.mean(0)
        ratio = counts.var(0) / (mean + 0.2 * mean**2)
        assert ratio.mean() == pytest.approx(1, abs=0.03)

    def test_dropout_loses_half_of_the_genes_expected_at_it(self, wide: SyntheticTissue) -> None:
        settings = replace(EXACT, depth=20_000, dropout=100.0, null_genes=60)
        spots = synthetic_spots(wide, settings)
        null = of_programme(spots, "null")
        rate = spots.layers["truth_rate"][0, null]
        lost = (spots.X.toarray()[:, null] == 0).mean(0)
        np.testing.assert_allclose(lost, 100 / (rate + 100), atol=0.04)
        assert rate.min() < 100 < rate.max()

    def test_depth_varies_from_spot_to_spot_but_not_with_the_tissue(self, many: AnnData) -> None:
        depth = np.ravel(many.X.sum(1))
        assert depth.mean() == pytest.approx(2000, rel=0.05)
        assert np.log(depth).std() == pytest.approx(0.6, abs=0.05)
        for programme in many.obsm["programmes"]:
            assert abs(correlation(np.log(depth), level(many, programme))) < 0.06

    def test_they_are_as_sparse_as_the_top_genes_of_a_legacy_section(self, many: AnnData) -> None:
        counts = many.X
        assert 0.02 < 1 - counts.nnz / np.prod(counts.shape) < 0.12

    def test_null_genes_measure_independent_of_the_tissue(self, many: AnnData) -> None:
        target = expression_target(many, list(many.var_names), smoothed=False)
        null = target[:, of_programme(many, "null")]
        for programme in many.obsm["programmes"]:
            found = [correlation(values, level(many, programme)) for values in null.T]
            assert abs(np.mean(found)) < 0.02
            assert np.abs(found).max() < 0.1


class TestWrittenSections:
    def test_each_passes_the_checks_before_training_with_its_slide(self, study: Path) -> None:
        for section in read_sections(study):
            spots = read_spots(section.expression)
            check_counts(spots)
            assert spots.n_obs >= 40
            with open_slide(section.slide) as slide:
                found = check_section(spots, slide, name=section.section_id)
            assert found.warnings == ()
            assert found.on_tissue > 0.9
            assert found.mpp_of_pitch == pytest.approx(1.0)
            assert found.mpp == pytest.approx((1.0, 1.0), rel=1e-3)
            assert spot_array(spots).layout == "square"

    def test_what_is_read_is_what_was_measured_and_the_file_has_the_truth(
        self, section: Section
    ) -> None:
        expected = synthetic_spots(SyntheticTissue(SEEDS[0], (2000, 2300), 1.0))
        read = read_spots(section.expression)
        assert_same_spots(read, expected)
        assert read.uns["nh2st_spots"]["pitch_um"] == 200
        whole = anndata.read_h5ad(section.expression)
        # Text comes back as categories.
        types = {"programme": object, "direction": int}
        pd.testing.assert_frame_equal(
            whole.var.astype(types), expected.var.astype(types), check_index_type=False
        )
        panel = list(expected.var_names)
        np.testing.assert_array_equal(true_target(whole, panel), true_target(expected, panel))
        with pytest.raises(InputError, match="no layer truth_rate"):
            true_target(read, panel)

    def test_the_table_names_sections_and_donors(self, study: Path) -> None:
        sections = read_sections(study)
        assert [s.section_id for s in sections] == ["synthetic-11", "synthetic-12"]
        assert [s.donor_id for s in sections] == ["A", "A"]
        assert sorted(path.name for path in study.parent.iterdir()) == [
            "sections.csv",
            *(f"synthetic-{seed}{suffix}" for seed in SEEDS for suffix in (".h5ad", ".tiff")),
        ]

    def test_spots_lie_on_the_slide_where_their_tissue_is(self, section: Section) -> None:
        """The haematoxylin seen around a spot is that of its density."""
        spots = anndata.read_h5ad(section.expression)
        with open_slide(section.slide) as slide:
            seen = [
                rgb2hed(slide.read_region(round(y) - 75, round(x) - 75, 150, 150))[..., 0].mean()
                for x, y in spots.obsm["spatial"]
            ]
        assert correlation(np.array(seen), level(spots, "density")) > 0.9


class TestImport:
    def test_drawing_a_slide_does_not_wait_for_anndata(self) -> None:
        code = (
            "import sys, napari_nh2st.synthetic as s; s.write_synthetic_slide; "
            "assert not {'anndata', 'pandas', 'torch'} & set(sys.modules); s.synthetic_spots"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_a_name_that_is_not_there_is_said(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'synthetic_spot'"):
            getattr(napari_nh2st.synthetic, "synthetic_spot")  # noqa: B009


class TestBadInput:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"genes_per_programme": 3},
            {"null_genes": -1},
            {"pitch_um": 0.0},
            {"depth": np.nan},
            {"dispersion": -0.1},
            {"fold": 0.5},
        ],
    )
    def test_settings_out_of_range_are_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=r"must be|needs an even number"):
            replace(ProgrammeSettings(), **wrong)

    @pytest.mark.parametrize("side", [100, 300])
    def test_a_tissue_without_room_for_spots_is_refused(self, tmp_path: Path, side: int) -> None:
        with pytest.raises(ValueError, match="too small for spots 200 µm apart"):
            write_synthetic_section(tmp_path, size_um=(side, side))
        assert not list(tmp_path.iterdir())

    def test_a_study_needs_distinct_seeds_and_a_donor_for_each(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="a seed of its own"):
            write_synthetic_study(tmp_path, (1, 1))
        with pytest.raises(ValueError, match="1 donors for 2 sections"):
            write_synthetic_study(tmp_path, (1, 2), donors=("A",))
        assert not list(tmp_path.iterdir())


def test_a_visium_section_is_read_as_one_of_space_ranger(tmp_path: Path) -> None:
    section = write_synthetic_visium(tmp_path, 3, size_um=(1200, 1200))
    tissue = SyntheticTissue(seed=3, shape=(1200, 1200), mpp=1.0)
    drawn = synthetic_spots(tissue, ProgrammeSettings(100, layout="hexagonal", tile_um=100))
    spots = read_spots(section.expression)
    np.testing.assert_array_equal(spots.X.toarray(), drawn.X.toarray())
    np.testing.assert_allclose(spots.obsm["spatial"], drawn.obsm["spatial"])
    array = spot_array(spots)
    assert array.layout == "hexagonal"
    assert array.neighbors.sum(1).max() == 6
    around = array.neighbors.astype(float)
    alone = level(drawn, "nests")
    means = (around @ alone) / np.maximum(around.sum(1).A1, 1)
    np.testing.assert_allclose(level(drawn, "neighbors"), np.clip((means - 0.1) / 0.6, 0, 1))
    (library,) = spots.uns["spatial"].values()
    with open_slide(section.slide) as slide:
        check_section(spots, slide)
        np.testing.assert_allclose(array.pitch_px * slide.mpp[0], 100, rtol=0.01)
        picture = library["scalefactors"]["tissue_hires_scalef"] * np.array(slide.shape)
    np.testing.assert_allclose(picture, (600, 600))

    (section.expression / "spatial" / "tissue_positions.csv").unlink()
    own = section.expression / "spatial" / "annotations.csv"
    own.write_text("mine", encoding="utf-8")
    write_synthetic_visium(tmp_path, 3, size_um=(1200, 1200))
    assert_same_spots(read_spots(section.expression), spots)
    assert own.read_text(encoding="utf-8") == "mine"
    (section.expression / "filtered_feature_bc_matrix.h5").unlink()
    with pytest.raises(InputError, match="is not a synthetic Visium section"):
        write_synthetic_visium(tmp_path, 3, size_um=(1200, 1200))
