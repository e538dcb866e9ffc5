"""Controls of *Compare*: what is remembered, and the µm/px that the spots tell."""

from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QWidget

from array_slides import textured, write_tiff
from compared_sections import MPP, write_model, write_section
from napari_nh2st.session import remembered
from napari_nh2st.slide import open_slide
from napari_nh2st.spots.checks import MppProposal
from napari_nh2st.spots.measured import read_measured, target_of
from napari_nh2st.widgets.compare.notice_boxes import MppBox
from napari_nh2st.widgets.compare.widget import CompareWidget
from spot_sections import drawn_spots


class Settings:
    """A section of napari's plugin settings."""

    model, device = "", "auto"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = Settings()
    monkeypatch.setattr(remembered, "plugin_section", lambda _name: settings)
    return settings


def new_controls(qtbot: QtBot) -> CompareWidget:
    controls = CompareWidget(ViewerModel())
    qtbot.addWidget(controls)
    return controls


def test_model_and_device_are_remembered_and_can_be_reset(
    qtbot: QtBot, local_jobs: None, settings: Settings, tmp_path: Path
) -> None:
    controls = new_controls(qtbot)
    bundled = controls.model.text
    assert vars(settings) == {}
    model = str(write_model(tmp_path / "model"))
    controls.model.choose(model)
    controls.device.setCurrentText("cpu")
    assert vars(settings) == {"model": model, "device": "cpu"}
    # What is being typed is no model, and one that is offered was not chosen.
    controls.model.choose(f"{model}/no")
    controls.choice.offer(bundled)
    controls.device.setCurrentText("auto")
    controls.device.setCurrentText("cpu")
    assert vars(settings) == {"model": model, "device": "cpu"}

    another = new_controls(qtbot)
    assert another.model.text == model
    assert another.device.currentText() == "cpu"
    another.choice.reset.click()
    assert another.model.text == bundled
    assert another.device.currentText() == "auto"


def test_a_remembered_model_that_is_gone_is_not_missed(
    qtbot: QtBot, local_jobs: None, settings: Settings
) -> None:
    settings.model = "/no/such/model"
    controls = new_controls(qtbot)
    assert controls.model.config is not None
    assert controls.model.text != settings.model


def test_fields_stand_below_each_other(qtbot: QtBot, local_jobs: None) -> None:
    controls = new_controls(qtbot)
    controls.resize(380, 700)
    with qtbot.waitExposed(controls):
        controls.show()
    fields: list[QWidget] = [
        controls.slide.picker,
        controls.slide.mpp,
        controls.measured.source,
        controls.model,
        controls.device,
    ]
    begins = {field.mapTo(controls, field.rect().topLeft()).x() for field in fields}
    assert len(begins) == 1


def test_the_mpp_that_the_spots_tell_is_offered(qtbot: QtBot) -> None:
    box = MppBox()
    qtbot.addWidget(box)
    taken: list[float] = []
    box.chosen.connect(taken.append)
    assert box.isHidden()
    for choice, expected in ((box.keep, []), (box.use, [0.686])):
        box.offer(MppProposal(0.686, "It seems wrong."))
        assert not box.isHidden()
        assert box.is_open
        assert box.use.text() == "Use 0.686 µm/px"
        choice.click()
        assert taken == expected
        assert box.isHidden()
        assert not box.is_open


@pytest.mark.parametrize(("factor", "mpp", "proposed"), [(1.0, MPP, None), (1.0, 1.5, MPP)])
def test_a_wrong_mpp_is_noticed_when_st_is_read(
    tmp_path: Path, factor: float, mpp: float, proposed: float | None
) -> None:
    section = write_section(tmp_path, factor=factor)
    with open_slide(section.slide, mpp=mpp) as slide:
        measured = read_measured(section.expression, None, slide)
    assert measured.proposal is None
    found = measured.mpp_proposal
    assert (None if found is None else found.mpp) == proposed


def test_the_positions_are_asked_about_before_the_mpp(tmp_path: Path) -> None:
    """Where they seem to be in pixels of another image, the µm/px may well be right."""
    section = write_section(tmp_path, factor=4.0)
    glass = textured(200, 240)
    glass[:, :10] = glass[:, -10:] = 245  # an edge of tissue tells the scale
    write_tiff(section.slide, glass)
    with open_slide(section.slide, mpp=MPP) as slide:
        measured = read_measured(section.expression, None, slide)
    assert measured.proposal is not None
    assert measured.proposal.fix.factor == 4
    assert measured.mpp_proposal is None


def test_a_panel_of_another_species_is_not_what_is_shown() -> None:
    # C3 is a gene of mouse and human.
    genes = ("C3", *(f"GENE{i}" for i in range(40)))
    panel = ("C3", *(f"Gene{i}" for i in range(40)))
    target = target_of(drawn_spots(genes=genes), panel)
    assert target.columns.tolist() == list(genes)
