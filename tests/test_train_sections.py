"""The sections table of Train: what is added, dropped, typed, checked and taken back."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QKeySequence
from qtpy.QtWidgets import QFileDialog

from napari_nh2st._reader import read_slide
from napari_nh2st.errors import InputError
from napari_nh2st.spots import Section, read_sections, write_sections
from napari_nh2st.widgets.train import check as train_check
from napari_nh2st.widgets.train import sections as train_sections
from napari_nh2st.widgets.train.check import Found, Measured
from napari_nh2st.widgets.train.files import kind_of
from napari_nh2st.widgets.train.rows import ROLES, SectionRow, SectionRows, short_name
from napari_nh2st.widgets.train.sections import POSITIONS_PATH_KEY, SPOTS_PATH_KEY, SectionsTable
from napari_nh2st.widgets.train.sections_model import DONOR, EXPRESSION, MPP, NAME, ROLE, STATUS
from train_studies import drawn_study

DISPLAY, TIP = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, ...]:
    return drawn_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(train_sections, "show_error", shown.append)
    monkeypatch.setattr(train_sections, "show_info", shown.append)
    return shown


@pytest.fixture
def viewer(qtbot: QtBot) -> Iterator[ViewerModel]:
    viewer = ViewerModel()
    yield viewer
    viewer.layers.clear()


@pytest.fixture
def table(qtbot: QtBot, viewer: ViewerModel, messages: list[str]) -> SectionsTable:
    table = SectionsTable(viewer)
    # Not after a yield: pytest-qt deletes widgets first, and threads no longer reach them.
    qtbot.addWidget(table, before_close_func=lambda table: checked(qtbot, table))
    return table


def checked(qtbot: QtBot, table: SectionsTable) -> None:
    qtbot.waitUntil(lambda: not table.checks.is_busy, timeout=20_000)


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


# --- files ---


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.yaml", "", "sections"),
        ("a.csv", "section_id,donor_id,slide,expression\n", "sections"),
        ("a.csv", "donor_id;section_id;slide;expression\n", "sections"),
        ("a_selection.tsv", "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n", "positions"),
        ("a.tsv", "\tERBB2\tCD74\n10x12\t3\t4\n", "ST"),
        ("a.tsv.gz", "\tERBB2\n10x12\t3\n", "ST"),
        ("a.h5ad", "", "ST"),
        ("filtered_feature_bc_matrix.h5", "", "ST"),
        ("a.svs", "", "slide"),
        ("a.jpg", "", "slide"),
    ],
)
def test_what_a_file_holds_is_told_by_its_name_and_first_line(
    tmp_path: Path, name: str, content: str, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    assert kind_of(path) == kind


def test_folders_of_spots_are_told_from_pictures(tmp_path: Path) -> None:
    (tmp_path / "outs" / "spatial").mkdir(parents=True)
    anndata, image = tmp_path / "a.zarr", tmp_path / "i.zarr"
    for folder, text in ((anndata, '{"encoding-type": "anndata"}'), (image, '{"multiscales": []}')):
        folder.mkdir()
        (folder / ".zattrs").write_text(text)
    assert [kind_of(p) for p in (tmp_path / "outs", anndata, image)] == ["ST", "ST", "slide"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("images/C6.jpg", "C6"),
        ("C6_selection.tsv", "C6"),
        ("HE_C6.tif", "C6"),
        ("ut_C6_stdata_filtered.tsv.gz", "ut-C6-filtered"),
        ("alignment_table_MOB1.tsv", "MOB1"),
        ("P1/outs", "P1"),
        ("spots.h5ad", "spots"),
    ],
)
def test_a_section_is_named_after_its_file(path: str, name: str) -> None:
    assert short_name(Path(path)) == name


# --- rows ---


def test_files_find_the_row_that_is_named_like_them_whatever_their_order() -> None:
    rows = SectionRows()
    rows.add_slide(Path("C5.jpg"))
    rows.add_slide(Path("C6.jpg"))
    rows.add_expression(Path("C6.tsv.gz"))
    rows.add_positions(Path("C5_selection.tsv"))
    rows.add_positions(Path("C6_selection.tsv"))
    rows.add_expression(Path("C5.tsv.gz"))
    assert rows.all == tuple(
        SectionRow(
            "train", c, "", Path(f"{c}.jpg"), Path(f"{c}.tsv.gz"), Path(f"{c}_selection.tsv")
        )
        for c in ("C5", "C6")
    )


def test_a_file_that_is_named_like_no_row_fills_the_first_that_lacks_it() -> None:
    rows = SectionRows()
    rows.add_slide(Path("left.svs"))
    rows.add_slide(Path("right.svs"))
    rows.add_expression(Path("quite-another.h5ad"))
    assert [row.expression for row in rows.all] == [Path("quite-another.h5ad"), None]


def test_a_second_slide_of_a_name_gets_a_name_of_its_own() -> None:
    rows = SectionRows()
    rows.add_slide(Path("a/C6.jpg"))
    rows.add_slide(Path("b/C6.jpg"))
    assert [row.name for row in rows.all] == ["C6", "C6-2"]


def test_a_row_says_what_it_lacks() -> None:
    assert SectionRow().missing == ("name", "slide", "ST", "donor")
    row = SectionRow("train", "C6", "C", Path("C6.jpg"), Path("C6.tsv"))
    assert row.missing == ("positions",)
    assert row.section is None


# --- the table ---


def test_dropped_files_become_sections_that_are_checked(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    drop(table, study[0].expression, study[1].slide, study[0].slide, study[1].expression)
    assert [row.slide for row in table.rows.all] == [study[1].slide, study[0].slide]
    assert cell(table, 0, STATUS) == "needs donor"
    for row, donor in enumerate(("D1", "D0")):
        put(table, row, DONOR, donor)
    assert cell(table, 0, STATUS) == "checking…"
    with pytest.raises(InputError, match="still being checked"):
        table.sections()
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "ok: 30 spots, 6.25 µm/px"
    assert table.sections() == (study[1], study[0])


def test_a_dropped_sections_table_brings_its_sections(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...], tmp_path: Path
) -> None:
    write_sections(study, tmp_path / "sections.csv")
    drop(table, tmp_path / "sections.csv")
    drop(table, tmp_path / "sections.csv")
    checked(qtbot, table)
    assert table.sections() == study


def test_why_a_section_is_no_good_stands_beside_it(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(b"no HDF5")
    table.show_sections([Section("S", "D", study[0].slide, broken)], (), ())
    checked(qtbot, table)
    assert "broken.h5ad" in cell(table, 0, STATUS)
    assert cell(table, 0, STATUS) == cell(table, 0, STATUS, TIP)
    with pytest.raises(InputError, match=r"Section S: .*broken\.h5ad"):
        table.sections()
    broken.write_bytes(study[0].expression.read_bytes())
    table.check_again(0)
    checked(qtbot, table)
    assert cell(table, 0, STATUS).startswith("ok: 30 spots")


def test_a_reader_that_fails_unforeseen_is_told_in_the_row(
    qtbot: QtBot,
    table: SectionsTable,
    study: tuple[Section, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(train_check, "read_spots", fail)
    table.show_sections(study[:1], (), ())
    checked(qtbot, table)
    assert cell(table, 0, STATUS) == "It cannot be read: ZeroDivisionError: division by zero"


def test_what_a_check_warns_of_can_be_read(
    table: SectionsTable, study: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        train_check, "check", lambda _: Found("ok: 30 spots, 6.25 µm/px", True, ("It is odd.",))
    )
    found = train_check.check(Measured.of(study[0], False))
    table.checks._found[Measured.of(study[0], False)] = found
    table.show_sections(study[:1], (), ())
    assert cell(table, 0, STATUS) == "ok: 30 spots, 6.25 µm/px; please read"
    assert cell(table, 0, STATUS, TIP).endswith("\nIt is odd.")


def test_files_are_checked_once(
    qtbot: QtBot,
    table: SectionsTable,
    study: tuple[Section, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Measured] = []

    def check(measured: Measured) -> Found:
        asked.append(measured)
        return Found("ok", True)

    monkeypatch.setattr(train_check, "check", check)
    table.show_sections(study[:2], (), ())
    checked(qtbot, table)
    put(table, 0, DONOR, "another")
    put(table, 0, NAME, "renamed")
    checked(qtbot, table)
    assert asked == [Measured.of(section, False) for section in study[:2]]
    table.set_trust_positions(True)
    checked(qtbot, table)
    assert asked[2:] == [Measured.of(section, True) for section in study[:2]]


def test_two_sections_of_one_name_are_refused(
    table: SectionsTable, study: tuple[Section, ...], messages: list[str]
) -> None:
    table.show_sections(study, (), ())
    assert not put(table, 1, NAME, "S0")
    assert messages == ["There is a section 'S0' already: give another name."]
    assert table.rows[1].name == "S1"
    other = Section("S0", "E", study[1].slide, study[2].expression)
    table.model.update(lambda: table.rows.add_sections([other]))
    assert cell(table, 3, STATUS).startswith("Another row is called 'S0'")
    with pytest.raises(InputError, match="Another row is called"):
        table.sections()


@pytest.mark.parametrize(("text", "mpp"), [("0.5", 0.5), ("0,5", 0.5), ("", None)])
def test_mpp_is_typed_with_point_or_comma(
    table: SectionsTable, study: tuple[Section, ...], text: str, mpp: float | None
) -> None:
    table.show_sections(study[:1], (), ())
    assert put(table, 0, MPP, text)
    assert table.rows[0].mpp == mpp


@pytest.mark.parametrize("text", ["half", "-1", "0", "nan"])
def test_what_is_no_mpp_is_refused(
    table: SectionsTable, study: tuple[Section, ...], messages: list[str], text: str
) -> None:
    table.show_sections(study[:1], (), ())
    assert not put(table, 0, MPP, text)
    assert messages == [f"{text!r} is no µm/px: give a number such as 0.5."]


def test_typing_into_a_selected_row_goes_to_all_selected(
    table: SectionsTable, study: tuple[Section, ...]
) -> None:
    table.show_sections(study, (), ())
    table.view.selectAll()
    put(table, 0, DONOR, "P")
    put(table, 1, ROLE, "leave out")
    assert {(row.donor, row.role) for row in table.rows.all} == {("P", "leave out")}
    with pytest.raises(InputError, match="no section to train on"):
        table.sections()


def test_roles_say_what_sections_are_for(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    table.show_sections(study, ("S2",), ("S1",))
    assert [row.role for row in table.rows.all] == ["train", "validate", "hold out"]
    assert [table.names(role) for role in ROLES] == [("S0",), ("S1",), ("S2",), ()]
    put(table, 1, ROLE, "leave out")
    checked(qtbot, table)
    assert table.sections() == (study[0], study[2])
    assert cell(table, 1, STATUS) == "left out"


def test_a_section_that_is_left_out_may_be_wrong(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    table.show_sections(study[:1], (), ())
    table.add_paths([study[1].slide])
    put(table, 1, ROLE, "leave out")
    checked(qtbot, table)
    assert table.sections() == study[:1]


def test_removing_can_be_undone_and_so_can_typing(
    qtbot: QtBot, table: SectionsTable, study: tuple[Section, ...]
) -> None:
    assert not table.undo.isEnabled()
    table.show_sections(study, (), ())
    put(table, 0, DONOR, "P")
    table.view.selectRow(1)
    qtbot.keyClick(table.view, Qt.Key.Key_Delete)
    assert [row.name for row in table.rows.all] == ["S0", "S2"]
    qtbot.keySequence(table.view, QKeySequence(QKeySequence.StandardKey.Undo))
    assert [row.name for row in table.rows.all] == ["S0", "S1", "S2"]
    table.undo.click()
    assert table.rows[0].donor == "D0"
    table.undo.click()
    assert len(table.rows) == 0
    assert not table.undo.isEnabled()


def test_a_table_is_saved_as_it_is_read(
    table: SectionsTable, study: tuple[Section, ...], messages: list[str], tmp_path: Path
) -> None:
    table.show_sections(study, (), ())
    put(table, 0, MPP, "6.3")
    table.add_paths([study[0].slide])
    table.save_table(tmp_path / "mine.csv")
    assert messages == ["Rows that lack something are not in mine.csv: 1."]
    again = read_sections(tmp_path / "mine.csv")
    assert [s.section_id for s in again] == ["S0", "S1", "S2"]
    assert again[1:] == study[1:]
    assert again[0].mpp == 6.3


def test_a_table_that_cannot_be_read_leaves_the_sections_as_they_are(
    table: SectionsTable, study: tuple[Section, ...], messages: list[str], tmp_path: Path
) -> None:
    table.show_sections(study, (), ())
    (tmp_path / "t.csv").write_text("section_id,donor_id,slide,expresion\n")
    table.load_table(tmp_path / "t.csv")
    assert "did you mean expression?" in messages[0]
    assert len(table.rows) == 3


def test_what_is_open_in_the_viewer_is_taken_over(
    viewer: ViewerModel, table: SectionsTable, study: tuple[Section, ...], messages: list[str]
) -> None:
    table.add_from_layers()
    assert messages == ["No slide is open in the viewer."]
    ((data, attributes, _),) = read_slide(study[0].slide)
    viewer.add_image(data, **attributes)
    metadata = {SPOTS_PATH_KEY: str(study[0].expression), POSITIONS_PATH_KEY: None}
    viewer.add_points(np.zeros((1, 2)), metadata=metadata)
    viewer.add_image(np.zeros((4, 4)))
    table.from_layers.click()
    table.from_layers.click()
    (row,) = table.rows.all
    assert (row.slide, row.expression) == (study[0].slide, study[0].expression)


def test_slides_and_their_spots_are_chosen_one_after_the_other(
    table: SectionsTable, study: tuple[Section, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = [str(section.slide) for section in study[:2]]
    spots = iter([(str(study[0].expression), ""), ("", "")])
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (slides, ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: next(spots))
    table.add.click()
    assert [row.expression for row in table.rows.all] == [study[0].expression, None]
    spots = iter([(str(study[1].expression), "")])
    table.view.doubleClicked.emit(table.model.index(1, EXPRESSION))
    assert table.rows[1].expression == study[1].expression


@pytest.mark.parametrize("where", ["beside", "elsewhere"])
def test_a_written_table_reads_back(study: tuple[Section, ...], tmp_path: Path, where: str) -> None:
    path = (study[0].slide.parent if where == "beside" else tmp_path) / "sections, all.csv"
    write_sections(study, path)
    assert read_sections(path) == study
    assert (str(study[0].slide.parent) in path.read_text()) == (where == "elsewhere")


def test_a_table_of_nothing_or_of_one_name_twice_is_not_written(
    study: tuple[Section, ...], tmp_path: Path
) -> None:
    for sections, said in (((), "no section"), ((study[0], study[0]), "name of two")):
        with pytest.raises(InputError, match=said):
            write_sections(sections, tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []
