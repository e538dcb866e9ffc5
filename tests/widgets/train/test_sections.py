"""The sections table of Train: what is added, dropped, typed, checked and taken back."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from anndata import read_h5ad
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QKeySequence
from qtpy.QtWidgets import QAction, QFileDialog

from feature_files import write_trident
from misplaced_sections import mirrored_section
from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import (
    FIX_KEY,
    GIVEN_MPP_KEY,
    MEASURED_SLIDE_KEY,
    POSITIONS_PATH_KEY,
    SPOTS_PATH_KEY,
)
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session import Session, training_sections
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.section_rows import ROLES, row_of
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import Fix, Proposal, Section, read_sections, section_check, write_sections
from napari_nh2st.spots.section_check import Found
from napari_nh2st.widgets.queued_signals import deliver_queued_signals
from napari_nh2st.widgets.train.sections import SectionsTable, section_menu
from napari_nh2st.widgets.train.sections_model import (
    DONOR,
    EXPRESSION,
    FEATURES,
    FIX,
    MPP,
    NAME,
    ROLE,
    STATUS,
)
from small_configs import PANEL
from train_studies import drawn_study

DISPLAY, TIP = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, ...]:
    return drawn_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def table(qtbot: QtBot, viewer: ViewerModel, messages: dict[str, list[str]]) -> SectionsTable:
    deliver_queued_signals()
    connections = Connections()
    table = SectionsTable(Session.of(viewer), connections)
    connections.open()
    table.destroyed.connect(connections.close)
    # Not after a yield: pytest-qt deletes widgets first, and threads no longer reach them.
    qtbot.addWidget(table, before_close_func=lambda table: checked(qtbot, table))
    return table


def checked(qtbot: QtBot, table: SectionsTable) -> None:
    qtbot.waitUntil(lambda: not table.sections.is_busy, timeout=20_000)


def put(table: SectionsTable, row: int, column: int, text: str) -> bool:
    return table.model.setData(table.model.index(row, column), text)


def cell(table: SectionsTable, row: int, column: int, role: int = DISPLAY) -> str:
    return str(table.model.data(table.model.index(row, column), role))


def drop(table: SectionsTable, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(
        QPointF(5, 150),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    table.view.dropEvent(event)
    assert event.isAccepted()


# --- the table ---


def test_dropped_files_become_sections_that_are_checked(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    drop(table, study[0].expression, study[1].slide, study[0].slide, study[1].expression)
    assert [row.slide for row in table.sections.rows.all] == [study[1].slide, study[0].slide]
    assert cell(table, 0, STATUS) == "needs donor"
    assert table.sections.genes() == {}
    for row, donor in enumerate(("D1", "D0")):
        put(table, row, DONOR, donor)
    assert cell(table, 0, STATUS) == "checking…"
    with pytest.raises(InputError, match="still being checked"):
        table.sections.chosen()
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "ok"
    assert cell(table, 0, STATUS, TIP) == "30 spots, 6.25 µm/px."
    assert table.sections.chosen() == (study[1], study[0])
    assert table.sections.genes() == {"S0": set(PANEL), "S1": set(PANEL)}
    put(table, 0, ROLE, "hold out")
    assert list(table.sections.genes()) == ["S0"]


def test_files_are_checked_before_a_donor_is_given(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...], tmp_path: Path
) -> None:
    broken, gone = tmp_path / "S0.tif", tmp_path / "S0.h5ad"
    broken.write_bytes(b"no TIFF")
    table.add_paths([broken, gone, study[1].slide, study[1].expression])
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "unreadable"
    slide, spots, needed = cell(table, 0, STATUS, TIP).splitlines()
    assert str(broken) in slide
    assert str(gone) in spots
    assert needed == "Still missing: donor."
    assert cell(table, 1, STATUS) == "needs donor"
    assert "30 spots" in cell(table, 1, STATUS, TIP)


def test_a_dropped_sections_table_brings_its_sections(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...], tmp_path: Path
) -> None:
    write_sections(study, tmp_path / "sections.csv")
    drop(table, tmp_path / "sections.csv")
    drop(table, tmp_path / "sections.csv")
    checked(qtbot, table)
    assert table.sections.chosen() == study


def test_why_a_section_is_no_good_stands_beside_it(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(b"no HDF5")
    table.sections.show([Section("S", "D", study[0].slide, broken)], (), ())
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "unreadable"
    assert "broken.h5ad" in cell(table, 0, STATUS, TIP)
    with pytest.raises(InputError, match=r"Section S: .*broken\.h5ad"):
        table.sections.chosen()
    broken.write_bytes(study[0].expression.read_bytes())
    table.sections.check_again(0)
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "ok"


def test_a_reader_that_fails_unforeseen_is_told_in_the_row(
    qtbot: QtBot,
    table: SectionsTable,
    study: tuple[Section, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(section_check, "read_spots", fail)
    table.sections.show(study[:1], (), ())
    checked(qtbot, table)
    said = "The ST cannot be read: ZeroDivisionError: division by zero."
    assert cell(table, 0, STATUS, TIP) == said


def nameless(section: Section) -> Section:
    return replace(section, section_id="", donor_id="")


def know(table: SectionsTable, section: Section, found: Found) -> None:
    table.sections._found[nameless(section), False, None] = found


def test_what_is_selected_is_told_in_full_or_else_the_first_problem(
    table: SectionsTable, study: tuple[Section, ...]
) -> None:
    good = Found(("30 spots, 6.25 µm/px.",), True)
    know(table, study[0], good)
    know(table, study[1], replace(good, short="ok, but read", warnings=("It is odd.",)))
    table.sections.show(study[:2], (), ())
    assert cell(table, 1, STATUS) == "ok, but read"
    assert not table.details.isHidden()
    assert told(table) == "S1: 30 spots, 6.25 µm/px. It is odd.\nS1.tif · S1.h5ad"
    put(table, 0, DONOR, "")
    assert told(table).startswith("S0: Still missing: donor. 30 spots")
    table.view.selectRow(1)
    assert told(table).startswith("S1: ")
    table.sections.update(lambda: table.sections.rows.set([row_of(study[0])]))
    assert table.details.isHidden()


def told(table: SectionsTable) -> str:
    return table.details.text.text().replace("\u200b", "")


def test_files_are_checked_once(
    qtbot: QtBot,
    table: SectionsTable,
    study: tuple[Section, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Section, bool]] = []

    def check(section: Section, *, trust_positions: bool, features: object) -> Found:
        assert features is None
        asked.append((section, trust_positions))
        return Found((), True)

    monkeypatch.setattr(training_sections, "check", check)
    table.sections.show(study[:2], (), ())
    checked(qtbot, table)
    put(table, 0, DONOR, "another")
    put(table, 0, NAME, "renamed")
    checked(qtbot, table)
    assert asked == [(nameless(section), False) for section in study[:2]]
    table.sections.trust_positions = True
    checked(qtbot, table)
    assert asked[2:] == [(nameless(section), True) for section in study[:2]]


def test_two_sections_of_one_name_are_refused(
    table: SectionsTable, study: tuple[Section, ...], messages: dict[str, list[str]]
) -> None:
    table.sections.show(study, (), ())
    assert not put(table, 1, NAME, "S0")
    assert messages["error"] == ["There is already a section 'S0': give another name."]
    assert table.sections.rows[1].name == "S1"
    other = Section("S0", "E", study[1].slide, study[2].expression)
    table.sections.update(lambda: table.sections.rows.add_sections([other]))
    assert cell(table, 3, STATUS) == "name twice"
    same = rf"Row 1 \({re.escape(str(study[0].slide))}\) is also called 'S0'"
    assert re.match(same, cell(table, 3, STATUS, TIP))
    with pytest.raises(InputError, match="is also called 'S0': give one of them another name"):
        table.sections.chosen()


def test_the_same_files_are_not_taken_twice(
    table: SectionsTable, study: tuple[Section, ...]
) -> None:
    table.sections.show([study[0], replace(study[0], section_id="copy")], (), ())
    assert cell(table, 1, STATUS) == "there twice"
    assert "Row 1 (S0) has the same slide and ST" in cell(table, 1, STATUS, TIP)
    put(table, 0, ROLE, "leave out")
    assert cell(table, 1, STATUS) == "checking…"


@pytest.mark.parametrize(("text", "mpp"), [("0.5", 0.5), ("0,5", 0.5), ("", None)])
def test_mpp_is_typed_with_point_or_comma(
    table: SectionsTable, study: tuple[Section, ...], text: str, mpp: float | None
) -> None:
    table.sections.show(study[:1], (), ())
    assert put(table, 0, MPP, text)
    assert table.sections.rows[0].mpp == mpp


@pytest.mark.parametrize("text", ["half", "-1", "0", "nan"])
def test_what_is_no_mpp_is_refused(
    table: SectionsTable, study: tuple[Section, ...], messages: dict[str, list[str]], text: str
) -> None:
    table.sections.show(study[:1], (), ())
    assert not put(table, 0, MPP, text)
    assert messages["error"] == [f"{text!r} is not a µm/px: give a number such as 0.5."]


def test_typing_into_a_selected_row_goes_to_all_selected(
    table: SectionsTable, study: tuple[Section, ...]
) -> None:
    table.sections.show(study, (), ())
    table.view.selectAll()
    put(table, 0, DONOR, "P")
    put(table, 1, ROLE, "leave out")
    assert {(row.donor, row.role) for row in table.sections.rows.all} == {("P", "leave out")}
    with pytest.raises(InputError, match="no section to train on"):
        table.sections.chosen()


def test_roles_say_what_sections_are_for(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    table.sections.show(study, ("S2",), ("S1",))
    assert [row.role for row in table.sections.rows.all] == ["train", "validate", "hold out"]
    assert [table.sections.names(role) for role in ROLES] == [("S0",), ("S1",), ("S2",), ()]
    put(table, 1, ROLE, "leave out")
    checked(qtbot, table)
    assert table.sections.chosen() == (study[0], study[2])
    assert cell(table, 1, STATUS) == "left out"


def test_a_section_that_is_left_out_may_be_wrong(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    table.sections.show(study[:1], (), ())
    table.add_paths([study[1].slide])
    put(table, 1, ROLE, "leave out")
    checked(qtbot, table)
    assert table.sections.chosen() == study[:1]


def test_removing_can_be_undone_and_so_can_typing(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    assert not table.undo.isEnabled()
    table.sections.show(study, (), ())
    put(table, 0, DONOR, "P")
    table.view.selectRow(1)
    qtbot.keyClick(table.view, Qt.Key.Key_Delete)
    assert [row.name for row in table.sections.rows.all] == ["S0", "S2"]
    qtbot.keySequence(table.view, QKeySequence(QKeySequence.StandardKey.Undo))
    assert [row.name for row in table.sections.rows.all] == ["S0", "S1", "S2"]
    table.undo.click()
    assert table.sections.rows[0].donor == "D0"
    table.undo.click()
    assert len(table.sections.rows) == 0
    assert not table.undo.isEnabled()


def test_a_table_is_saved_as_it_is_read(
    table: SectionsTable, study: tuple[Section, ...], messages: dict[str, list[str]], tmp_path: Path
) -> None:
    table.sections.show(study, (), ())
    put(table, 0, MPP, "6.3")
    table.add_paths([study[0].slide])
    table.save_table(tmp_path / "mine.csv")
    assert messages["info"] == ["Incomplete rows are not in mine.csv: 1."]
    again = read_sections(tmp_path / "mine.csv")
    assert [s.section_id for s in again] == ["S0", "S1", "S2"]
    assert again[1:] == study[1:]
    assert again[0].mpp == 6.3


def test_a_table_that_cannot_be_read_leaves_the_sections_as_they_are(
    table: SectionsTable, study: tuple[Section, ...], messages: dict[str, list[str]], tmp_path: Path
) -> None:
    table.sections.show(study, (), ())
    (tmp_path / "t.csv").write_text("section_id,donor_id,slide,expresion\n", encoding="utf-8")
    table.add_paths([tmp_path / "t.csv"])
    assert "did you mean expression?" in messages["error"][0]
    assert len(table.sections.rows) == 3


def test_what_is_open_in_the_viewer_is_taken_over(
    viewer: ViewerModel,
    table: SectionsTable,
    study: tuple[Section, ...],
    messages: dict[str, list[str]],
) -> None:
    table.add_from_layers()
    assert messages["info"] == ["No slide is open in the viewer."]
    ((data, attributes, _),) = read_slide(study[0].slide)
    viewer.add_image(data, **attributes)
    metadata = {SPOTS_PATH_KEY: str(study[0].expression), POSITIONS_PATH_KEY: None}
    viewer.add_points(np.zeros((1, 2)), metadata=metadata)
    viewer.add_image(np.zeros((4, 4)))
    table.from_layers.click()
    table.from_layers.click()
    (row,) = table.sections.rows.all
    assert (row.slide, row.expression) == (study[0].slide, study[0].expression)
    table.undo.click()
    assert len(table.sections.rows) == 0


def test_a_slide_in_two_layers_is_one_section_with_the_mpp_that_was_typed(
    viewer: ViewerModel, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    ((data, attributes, _),) = read_slide(study[0].slide)
    layer, _beside = (viewer.add_image(data, **attributes) for _ in range(2))
    table.add_from_layers()
    (row,) = table.sections.rows.all
    assert (row.slide, row.mpp) == (study[0].slide, None)
    layer.metadata[GIVEN_MPP_KEY] = 6.5
    table.add_from_layers()
    (row,) = table.sections.rows.all
    assert row.mpp == 6.5
    put(table, 0, MPP, "6.3")
    table.add_from_layers()
    assert [row.mpp for row in table.sections.rows.all] == [6.3]
    table.sections.update(lambda: table.sections.rows.remove([0]))
    table.add_from_layers()
    assert [row.mpp for row in table.sections.rows.all] == [6.5]


def test_spots_of_layers_come_with_their_slide_and_as_they_were_fixed(
    viewer: ViewerModel, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    for section in study[:2]:
        ((data, attributes, _),) = read_slide(section.slide)
        viewer.add_image(data, **attributes)
    metadata = {  # named like the other slide
        SPOTS_PATH_KEY: str(study[0].expression),
        MEASURED_SLIDE_KEY: str(study[1].slide),
        FIX_KEY: "scale=2 flip-x",
    }
    layers = [viewer.add_points(np.zeros((1, 2)), metadata=metadata) for _ in ("measured", "other")]
    table.add_from_layers()
    assert [row.expression for row in table.sections.rows.all] == [None, study[0].expression]
    assert table.sections.rows[1].fix == Fix("with x mirrored", 2.0)
    for layer in layers:
        layer.metadata[FIX_KEY] = None  # nobody has decided there
    table.add_from_layers()
    assert table.sections.rows[1].fix == Fix("with x mirrored", 2.0)
    for layer in layers:
        layer.metadata[FIX_KEY] = ""
    table.add_from_layers()
    assert [row.fix for row in table.sections.rows.all] == [None, None]


def test_misplaced_spots_are_fixed_as_proposed_and_that_is_undone(
    qtbot: QtBot, table: SectionsTable, tmp_path: Path
) -> None:
    section, _ = mirrored_section(tmp_path)
    table.sections.show([section], (), ())
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "wrong places"
    assert told(table).startswith("L: As they are, ")
    assert table.details.fix.text() == "Fix: x mirrored"
    table.details.fix.click()
    checked(qtbot, table)
    fix = Fix("with x mirrored")
    assert table.sections.chosen() == (replace(section, fix=fix),)
    assert cell(table, 0, FIX) == "flip-x"
    table.save_table(tmp_path / "fixed.csv")
    assert read_sections(tmp_path / "fixed.csv") == table.sections.chosen()
    table.undo.click()
    assert table.sections.rows[0].fix is None
    assert cell(table, 0, STATUS) == "wrong places"


def test_no_fix_is_proposed_where_the_counts_are_wrong_or_positions_are_trusted(
    tmp_path: Path,
) -> None:
    section, _ = mirrored_section(tmp_path)
    trusted = section_check.check(section, trust_positions=True)
    assert trusted.is_good
    assert trusted.proposal is None
    spots = read_h5ad(section.expression)
    spots.X = spots.X * 0.5
    spots.write_h5ad(section.expression)
    found = section_check.check(section)
    assert (found.is_good, found.short, found.proposal) == (False, "not usable", None)
    assert "is not a count" in found.sentences[0]


def test_features_are_dropped_checked_and_written(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...], tmp_path: Path
) -> None:
    files = []
    for section in study[:2]:
        with open_slide(section.slide, mpp=6.25) as slide:
            files.append(write_trident(tmp_path / "uni" / f"{section.section_id}.h5", slide))
    table.sections.show(study[:2], (), ())
    assert table.view.isColumnHidden(FEATURES)
    table.sections.features = "features"
    assert not table.view.isColumnHidden(FEATURES)
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "features?"
    assert "There is no file of features" in cell(table, 0, STATUS, TIP)
    drop(table, *files)
    checked(qtbot, table)
    assert [row.features for row in table.sections.rows.all] == files
    assert cell(table, 0, FEATURES) == "S0.h5"
    assert cell(table, 0, FEATURES, TIP) == str(files[0])
    assert "features of tiny; 30 spots lie in one." in cell(table, 0, STATUS, TIP)
    table.save_table(tmp_path / "sections.csv")
    assert read_sections(tmp_path / "sections.csv") == table.sections.chosen()
    table.sections.change([0], features=tmp_path / "gone.h5")
    checked(qtbot, table)
    assert "There is no file of features" in told(table)
    with pytest.raises(InputError, match=r"gone\.h5"):
        table.sections.chosen()
    # Their folder does as well.
    table.sections.change([0, 1], features=None)
    table.sections.features = f"features:{tmp_path / 'uni'}"
    checked(qtbot, table)
    assert table.sections.chosen() == study[:2]
    table.sections.features = None
    assert table.view.isColumnHidden(FEATURES)


def test_the_menu_of_a_row_offers_its_fix_and_to_leave_it(
    table: SectionsTable, study: tuple[Section, ...]
) -> None:
    wrong = Found(("Wrong.",), False, "wrong places")
    fixes = (Fix(factor=4.0), Fix("with y mirrored"))
    for section, fix in zip(study, fixes, strict=False):
        know(table, section, replace(wrong, proposal=Proposal(fix, ("Wrong.",))))
    know(table, study[2], Found((), True))
    table.sections.show(study, (), ())

    def offered(number: int) -> dict[str, QAction]:
        menu = section_menu(table, table.model.index(number, STATUS))
        return {action.text(): action for action in menu.actions()}

    assert "Fix: × 4" in offered(0)
    assert not any("Fix" in text for text in offered(2))
    table.view.selectAll()
    offered(1)["Fix 2 sections as proposed"].trigger()
    assert [row.fix for row in table.sections.rows.all] == [*fixes, None]
    offered(1)["Positions as in the file"].trigger()
    assert [row.fix for row in table.sections.rows.all] == [None, None, None]


def test_a_fix_can_be_typed(
    table: SectionsTable, study: tuple[Section, ...], messages: dict[str, list[str]]
) -> None:
    table.sections.show(study[:1], (), ())
    assert not put(table, 0, FIX, "sideways")
    assert messages["error"][0].startswith(
        "'sideways' is not a fix of positions; give scale=NUMBER"
    )
    assert put(table, 0, FIX, "swap-xy")
    assert table.sections.rows[0].fix == Fix("with x and y swapped")
    for nothing in ("", "scale=1"):
        assert put(table, 0, FIX, nothing)
        assert table.sections.rows[0].fix is None


def test_slides_and_their_spots_are_chosen_one_after_the_other(
    table: SectionsTable, study: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = [str(section.slide) for section in study[:2]]
    spots = iter([(str(study[0].expression), ""), ("", "")])
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (slides, ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: next(spots))
    table.add.click()
    assert [row.expression for row in table.sections.rows.all] == [study[0].expression, None]
    spots = iter([(str(study[1].expression), "")])
    table.view.doubleClicked.emit(table.model.index(1, EXPRESSION))
    assert table.sections.rows[1].expression == study[1].expression


@pytest.mark.parametrize("where", ["beside", "elsewhere"])
def test_a_written_table_reads_back(study: tuple[Section, ...], tmp_path: Path, where: str) -> None:
    path = (study[0].slide.parent if where == "beside" else tmp_path) / "sections, all.csv"
    write_sections(study, path)
    assert read_sections(path) == study
    assert (str(study[0].slide.parent) in path.read_text(encoding="utf-8")) == (
        where == "elsewhere"
    )


def test_a_table_of_nothing_or_of_one_name_twice_is_not_written(
    study: tuple[Section, ...], tmp_path: Path
) -> None:
    for sections, said in (((), "no section"), ((study[0], study[0]), "name of two")):
        with pytest.raises(InputError, match=said):
            write_sections(sections, tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []
