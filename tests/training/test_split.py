"""Which sections train, which choose the epoch, and which test: never the same."""

from dataclasses import dataclass
from typing import Any

import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.split import folds, set_aside


@dataclass(frozen=True)
class Named:
    name: str
    donor: str


def sections(*donors: str) -> list[Named]:
    """S1, S2, ... of the given donors."""
    return [Named(f"S{k}", donor) for k, donor in enumerate(donors, start=1)]


def names(chosen: tuple[Named, ...]) -> set[str]:
    return {section.name for section in chosen}


def aside_of(study: list[Named], **settings: Any) -> tuple[set[str], set[str], str]:
    training, validation, notice = set_aside(study, TrainSettings(**settings))
    assert [s for s in study if s in training] == list(training)
    return names(training), names(validation), notice


class TestSetAside:
    @pytest.mark.parametrize("validation", ["auto", "donor"])
    @pytest.mark.parametrize("seed", range(8))
    def test_a_donor_with_all_its_sections(self, validation: str, seed: int) -> None:
        study = sections("A", "B", "A", "C", "B")
        training, aside, notice = aside_of(study, validation=validation, seed=seed)
        assert aside in ({"S1", "S3"}, {"S2", "S5"}, {"S4"})
        assert training == names(tuple(study)) - aside
        assert notice == ""

    @pytest.mark.parametrize("validation", ["auto", "section"])
    def test_a_section_of_the_only_donor(self, validation: str) -> None:
        training, aside, notice = aside_of(sections("A", "A", "A"), validation=validation)
        assert len(aside) == 1
        assert training | aside == {"S1", "S2", "S3"}
        assert not training & aside
        assert f"Validation section {aside.pop()} shares its donor (A)" in notice

    def test_a_section_of_a_donor_of_its_own_needs_no_notice(self) -> None:
        _, aside, notice = aside_of(sections("A", "B"), validation="section")
        assert len(aside) == 1
        assert notice == ""

    @pytest.mark.parametrize("settings", [{"validation": "auto"}, {"validation": "none"}])
    def test_nothing_of_one_section_or_where_it_is_not_wanted(
        self, settings: dict[str, Any]
    ) -> None:
        study = sections("A") if settings["validation"] == "auto" else sections("A", "B")
        training, aside, notice = aside_of(study, **settings)
        assert training == names(tuple(study))
        assert aside == set()
        assert "all epochs are done and the last is kept" in notice

    @pytest.mark.parametrize("validation", ["auto", "donor", "section"])
    def test_those_that_are_named(self, validation: str) -> None:
        training, aside, notice = aside_of(
            sections("A", "B", "A", "C"),
            validation=validation,
            validation_sections=("S4", "S1", "S4"),
        )
        assert aside == {"S1", "S4"}
        assert training == {"S2", "S3"}
        assert "S1, S4 shares its donor (A)" in notice

    def test_the_seed_decides(self) -> None:
        study = sections(*"ABCDEFGH")
        drawn = [frozenset(aside_of(study, seed=seed)[1]) for seed in range(20)]
        assert drawn == [frozenset(aside_of(study, seed=seed)[1]) for seed in range(20)]
        assert len(set(drawn)) > 3

    @pytest.mark.parametrize(
        ("donors", "settings", "message"),
        [
            ("AA", {"validation": "donor"}, r"all 2 sections are of one donor \(A\).*section"),
            ("A", {"validation": "section"}, r"only one section \(S1\).*none"),
            ("AB", {"validation_sections": ("S1", "X")}, "no section 'X'; there are S1, S2"),
            ("AB", {"validation_sections": ("S1", "S2")}, "none is left to train on"),
        ],
    )
    def test_what_cannot_be_is_refused_in_a_sentence(
        self, donors: str, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            set_aside(sections(*donors), TrainSettings(**settings))


class TestFolds:
    def test_each_donor_is_left_out_once_with_all_its_sections(self) -> None:
        got = folds(sections("A", "B", "A", "C"), "donor")
        assert [(name, sorted(names(left))) for name, left in got] == [
            ("A", ["S1", "S3"]),
            ("B", ["S2"]),
            ("C", ["S4"]),
        ]

    def test_each_section_is_left_out_once(self) -> None:
        got = folds(sections("A", "A", "B"), "section")
        assert [(name, names(left)) for name, left in got] == [(s, {s}) for s in ("S1", "S2", "S3")]

    def test_one_is_too_few(self) -> None:
        with pytest.raises(InputError, match=r"at least two; there is one \(A\); leave out sec"):
            folds(sections("A", "A"), "donor")
        with pytest.raises(InputError, match=r"one section at a time.*one \(S1\)$"):
            folds(sections("A"), "section")

    def test_a_fold_and_its_validation_do_not_meet(self) -> None:
        study = sections("A", "B", "A", "C")
        for _, left_out in folds(study, "donor"):
            others = [section for section in study if section not in left_out]
            training, aside, _ = set_aside(others, TrainSettings())
            assert not names(left_out) & (names(training) | names(aside))
            assert not {s.donor for s in aside} & {s.donor for s in training}
