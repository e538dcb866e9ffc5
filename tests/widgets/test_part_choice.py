"""Files of several sections in the docks: a list says which, and what is chosen is what is used."""

from pathlib import Path

import anndata
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Points
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QComboBox

from array_slides import textured, write_tiff
from compared_sections import MPP, write_model
from local_jobs import LocalJobs
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.spots import Section, SpotChoice, read_sections, read_spots
from napari_nh2st.spots.choice import NO_CHOICE, Parts, SpotOption
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.compare import measured_controls
from napari_nh2st.widgets.compare import widget as compare_module
from napari_nh2st.widgets.compare.widget import CompareWidget
from napari_nh2st.widgets.part_choice import PartChoice
from napari_nh2st.widgets.train import sections as sections_module
from napari_nh2st.widgets.train.sections import SectionsTable
from small_configs import PANEL
from spot_sections import drawn_spots


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A slide, and a file of two sections that lie on it."""
    slide = write_tiff(tmp_path / "S.tif", textured(200, 240))
    parts = [
        drawn_spots("square", 6, 7, 32.0, (18.5, 20.0), PANEL, 1),
        drawn_spots("square", 5, 6, 32.0, (34.0, 36.0), PANEL, 2),
    ]
    data = anndata.concat(parts, label="sample", keys=["A", "B"], index_unique="-")
    data.uns["nh2st_spots"] = {"pitch_um": 200.0}
    data.write_h5ad(tmp_path / "both.h5ad")
    return slide, tmp_path / "both.h5ad"


def names_in(box: QComboBox) -> list[str]:
    return [box.itemText(k) for k in range(box.count())]


def choose(parts: PartChoice, option: SpotOption, name: str) -> None:
    """As a click on the list's entry does."""
    box = parts.lists[option]
    box.setCurrentIndex(box.findText(name))
    box.activated.emit(box.currentIndex())


def test_lists_are_there_only_where_there_is_a_choice(qtbot: QtBot) -> None:
    parts = PartChoice()
    qtbot.addWidget(parts)
    assert parts.isHidden()
    got: list[SpotChoice] = []
    parts.chosen.connect(got.append)
    offered = Parts(
        {"bin_um": ("8", "16"), "coordinate_system": ("full", "low")},
        {"bin_um": "16", "coordinate_system": "full"},
    )
    parts.offer(offered, NO_CHOICE)
    assert not parts.isHidden()
    assert parts.lists["library"].isHidden()
    assert names_in(parts.lists["bin_um"]) == ["8 µm", "16 µm"]
    assert parts.lists["bin_um"].currentText() == "16 µm"
    width = parts.sizeHint().width()
    parts.offer(Parts({"library": ("A", "a section with a name " + 20 * "as long as ")}), NO_CHOICE)
    assert parts.sizeHint().width() <= width  # a dock as wide as that would leave the window
    parts.offer(offered, NO_CHOICE)
    assert got == []  # what is shown chooses nothing
    choose(parts, "coordinate_system", "low")
    choose(parts, "bin_um", "8 µm")
    assert got == [SpotChoice(coordinate_system="low"), SpotChoice(bin_um=8)]


def test_compare_asks_which_section_and_compares_that(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    two: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    errors: list[str] = []
    for module in (compare_module, measured_controls):
        monkeypatch.setattr(module, "show_error", errors.append)
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(write_model(tmp_path / "model")))
    slide, expression = two
    ((data, attributes, _),) = read_slide(slide, mpp=MPP)
    viewer.add_image(data, **attributes)

    def read() -> None:
        qtbot.waitUntil(lambda: not widget.measured.is_reading, timeout=30_000)

    widget.load(expression)
    read()
    parts = widget.measured.source.parts
    assert (errors, widget.section) == ([], None)
    assert widget.measured.source.summary.text() == "both.h5ad holds 2 sections: choose one."
    assert names_in(parts.lists["library"]) == ["A", "B"]
    assert parts.lists["library"].currentIndex() == -1
    assert widget.measured.source.clear.isEnabled()
    for name in ("A", "B"):  # and another one afterwards
        choose(parts, "library", name)
        read()
        expected = read_spots(expression, library=name)
        assert widget.section is not None
        np.testing.assert_array_equal(widget.section.positions, expected.obsm["spatial"])
        assert parts.lists["library"].currentText() == name
    widget.controls.run.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)
    assert errors == []
    assert widget.compared is not None
    np.testing.assert_array_equal(
        widget.compared.prediction.obsm["spatial"], expected.obsm["spatial"]
    )
    assert widget.compared.prediction.uns["nh2st"]["comparison"]["part"] == "B"
    # What is asked for is not what lies on the slide still.
    widget.load(expression)
    read()
    assert widget.section is not None
    assert widget.section.measured.choice == SpotChoice(library="B")
    widget.controls.run.click()
    assert not widget.is_running
    assert errors == ["The measured ST holds several sections: choose one first."]
    choose(parts, "library", "B")
    read()
    # Train takes the same section over from the layers.
    assert any(isinstance(layer, Points) for layer in viewer.layers)
    table = SectionsTable(Session.of(viewer), Connections())
    qtbot.addWidget(table)
    table.add_from_layers()
    assert [row.choice for row in table.sections.rows.all] == [SpotChoice(library="B")]
    qtbot.waitUntil(lambda: not table.sections.is_busy, timeout=30_000)
    widget.remove()
    assert parts.isHidden()


def test_the_list_stays_when_the_chosen_section_cannot_be_read(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    messages: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    slide = write_tiff(tmp_path / "S.tif", textured(200, 240))
    whole = drawn_spots("square", 6, 7, 32.0, (18.5, 20.0), PANEL, 1)
    data = anndata.concat(
        [whole, whole[:2]], label="sample", keys=["whole", "two spots"], index_unique="-"
    )
    data.uns["nh2st_spots"] = {"pitch_um": 200.0}
    data.write_h5ad(tmp_path / "both.h5ad")
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    ((pixels, attributes, _),) = read_slide(slide, mpp=MPP)
    viewer.add_image(pixels, **attributes)
    widget.load(tmp_path / "both.h5ad")
    parts = widget.measured.source.parts
    for name, n_errors in (("", 0), ("two spots", 1), ("whole", 1)):
        if name:
            choose(parts, "library", name)
        qtbot.waitUntil(lambda: not widget.measured.is_reading, timeout=30_000)
        assert len(messages["error"]) == n_errors
        assert names_in(parts.lists["library"]) == ["two spots", "whole"]
        assert parts.isVisibleTo(widget)
        assert widget.measured.awaits_choice == (name != "whole")
    assert widget.section is not None
    assert widget.section.measured is not None
    assert widget.section.measured.spots.n_obs == 42


def test_train_asks_which_section_and_keeps_it_in_the_table(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    two: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sections_module, "show_error", lambda text: pytest.fail(text))
    connections = Connections()
    table = SectionsTable(Session.of(viewer), connections)
    connections.open()
    table.destroyed.connect(connections.close)
    qtbot.addWidget(table)
    slide, expression = two
    section = Section("S", "D", slide, expression, mpp=MPP)
    other = Section("T", "D", slide, expression, mpp=MPP, library="A")

    def checked() -> None:
        qtbot.waitUntil(lambda: not table.sections.is_busy, timeout=30_000)

    sections = table.sections
    sections.update(lambda: sections.rows.add_sections([section, other]))
    checked()
    table.view.selectRow(0)
    state = sections.state(0)
    assert (state.level, state.short) == ("bad", "which section?")
    assert "2 sections: choose one" in table.details.text.text()
    assert names_in(table.details.parts.lists["library"]) == ["A", "B"]
    choose(table.details.parts, "library", "B")
    checked()
    assert sections.state(0).sentences[0].startswith("30 spots")
    assert sections.state(1).sentences[0].startswith("42 spots")
    assert table.details.parts.lists["library"].currentText() == "B"
    table.save_table(tmp_path / "sections.csv")
    assert [s.library for s in read_sections(tmp_path / "sections.csv")] == ["B", "A"]
    sections.undo()
    assert sections.rows[0].choice == NO_CHOICE
    checked()
