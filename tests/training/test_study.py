"""A study as training reads it: spots of a section that names a fix lie where they belong."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from misplaced_sections import mirrored_section
from napari_nh2st.errors import InputError
from napari_nh2st.spots import (
    Fix,
    PanelSettings,
    Section,
    expression_target,
    read_sections,
    spcs_target,
    write_sections,
)
from napari_nh2st.training import TrainSettings, load_study
from napari_nh2st.training.prepare import PreparedTraining, prepare
from napari_nh2st.training.result import trained_config
from napari_nh2st.training.run_state import run_identity
from napari_nh2st.training.start import starting_network
from napari_nh2st.training.study import MeasuredSection
from small_configs import PANEL
from train_studies import drawn_section


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, np.ndarray]:
    return mirrored_section(tmp_path_factory.mktemp("mirrored"))


def test_a_fix_in_the_sections_table_puts_spots_where_they_belong(
    mirrored: tuple[Section, np.ndarray], tmp_path: Path
) -> None:
    section, belong = mirrored
    with pytest.raises(InputError, match="with x mirrored it would be"):
        load_study([section])
    write_sections([replace(section, fix=Fix("with x mirrored"))], tmp_path / "sections.csv")
    (measured,) = load_study(read_sections(tmp_path / "sections.csv"))
    np.testing.assert_allclose(measured.centers[:, ::-1], belong)
    assert measured.pitch_um == pytest.approx(200, rel=0.02)
    (too_far,) = load_study(
        [replace(section, fix=Fix("with y mirrored", 0.5))], trust_positions=True
    )
    assert measured.mpp[0] == pytest.approx(too_far.mpp[0] / 2, rel=0.02)


def test_a_run_of_other_places_is_another_run(mirrored: tuple[Section, np.ndarray]) -> None:
    section, _ = mirrored
    as_read, fixed = (
        load_study([replace(section, fix=fix)], trust_positions=True)
        for fix in (None, Fix("with x mirrored"))
    )
    one, other = (run_identity(study, PANEL, TrainSettings(), None) for study in (as_read, fixed))
    assert one != other


def test_a_run_of_a_slide_that_was_replaced_is_another_run(tmp_path: Path) -> None:
    identities = []
    for seed in (0, 0, 1):
        (tmp_path / "S1.tif").unlink(missing_ok=True)
        section = drawn_section(tmp_path, "S1", "A", seed)
        identities.append(run_identity([section], PANEL, TrainSettings(), None))
    assert identities[0] == identities[1]
    assert identities[1] != identities[2]


def test_spcs_smooths_what_is_learned_and_not_what_chooses_the_epoch(tmp_path: Path) -> None:
    sections = [drawn_section(tmp_path, f"S{n}", f"D{n}", n) for n in range(3)]
    settings = replace(_SMALL, validation_sections=("S2",))
    for smoothing, target in (("array-neighbors", expression_target), ("spcs", spcs_target)):
        prepared = _prepared(sections, replace(settings, smoothing=smoothing))
        learned = [target(section.spots, PANEL) for section in sections[:2]]
        np.testing.assert_array_equal(prepared.training.target, np.concatenate(learned))
        scored = [expression_target(section.spots, PANEL) for section in sections[:2]]
        np.testing.assert_allclose(prepared.baseline, np.concatenate(scored).mean(0), rtol=1e-6)
        assert prepared.validation is not None
        np.testing.assert_array_equal(
            prepared.validation.target, expression_target(sections[2].spots, PANEL)
        )
        network = starting_network(PANEL, prepared.baseline, prepared.settings, None)
        summary = trained_config(prepared, network, ()).training["summary"]
        assert ("its training targets were smoothed with SPCS" in summary) == (smoothing == "spcs")


_SMALL = TrainSettings(
    panel=PanelSettings("given", genes=tuple(PANEL)), tile_px=32, mpp=1.0, device="cpu"
)


def _prepared(sections: Sequence[MeasuredSection], settings: TrainSettings) -> PreparedTraining:
    steps = prepare(sections, settings, None, None)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            prepared: PreparedTraining = end.value
            return prepared
