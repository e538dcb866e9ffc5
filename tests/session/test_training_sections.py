"""Sections to train on: a session keeps and checks them, with or without a dock."""

from dataclasses import replace
from pathlib import Path

import pytest
from napari.components import ViewerModel

from napari_nh2st.errors import InputError
from napari_nh2st.session import Session
from napari_nh2st.session.training_sections import TrainingSections
from napari_nh2st.spots import Section, write_sections
from train_studies import drawn_study
from waiting import wait_until


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, ...]:
    return drawn_study(tmp_path_factory.mktemp("study"), "S0 S1")


def test_a_session_keeps_its_sections_and_checks_their_files(study: tuple[Section, ...]) -> None:
    viewer = ViewerModel()
    sections = Session.of(viewer).training_sections
    changes: list[bool] = []
    sections.changed.connect(lambda: changes.append(sections.is_busy))
    sections.show(study, ("S1",), ())
    assert [sections.state(number).level for number in (0, 1)] == ["checking", "checking"]
    wait_until(lambda: not sections.is_busy)
    assert len(changes) == 3, "when they came, and as each was checked"
    assert Session.of(viewer).training_sections.chosen() == study
    assert sections.names("hold out") == ("S1",)


def test_files_are_added_though_a_table_among_them_is_wrong(
    study: tuple[Section, ...], tmp_path: Path
) -> None:
    sections = TrainingSections()
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("section_id,donor_id,slide,expresion\n", encoding="utf-8")
    with pytest.raises(InputError, match="did you mean expression"):
        sections.add_paths([wrong, study[0].slide, study[0].expression])
    write_sections(study[1:], tmp_path / "right.csv")
    sections.add_paths([tmp_path / "right.csv"])
    assert [row.name for row in sections.rows.all] == ["S0", "S1"]
    sections.undo()
    assert [row.name for row in sections.rows.all] == ["S0"]
    sections.stop_checking()
    wait_until(lambda: not sections.is_busy)


def test_what_is_not_wanted_any_more_is_not_checked(study: tuple[Section, ...]) -> None:
    sections = TrainingSections()
    sections.show(study, (), ())
    sections.stop_checking()
    wait_until(lambda: not sections.is_busy)
    assert [sections.state(number).level for number in (0, 1)] == ["good", "checking"]
    sections.show([replace(study[0], donor_id="another")], (), ())
    assert not sections.is_busy, "files that were checked are not checked again"
