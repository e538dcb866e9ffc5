"""A folder of an evaluation that is written anew: what others have put there is kept."""

import json
from pathlib import Path

import pytest

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_spot_prediction
from napari_nh2st.analysis.scores import joint_scores
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.evaluation.evaluation_folder import write_evaluation

FOLDER = "napari_nh2st.evaluation.evaluation_folder"


def evaluation_of(*sections: str) -> Evaluation:
    """Of sections that look alike."""
    slide = array_slide(ArrayLevel(textured(300, 420)), path="section.tif")
    spots = {name: drawn_spot_prediction(slide) for name in sections}
    scores, summary = joint_scores(list(spots.values()), None, bootstrap=0, seed=0)
    return Evaluation(spots, scores, summary, dict.fromkeys(sections, summary), ())


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("save_maps", "save_gene_pcc"):
        monkeypatch.setattr(
            f"{FOLDER}.{name}", lambda *given: given[-1].write_text("new", encoding="utf-8")
        )


def test_files_of_others_stay_and_those_of_former_sections_go(tmp_path: Path) -> None:
    write_evaluation(evaluation_of("S1", "old/2"), tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "out" / "maps-of-mine.png").write_text("mine", encoding="utf-8")
    (tmp_path / "out" / "predictions" / "other.h5ad").write_text("mine", encoding="utf-8")
    (tmp_path / "out" / "plots").mkdir()
    (tmp_path / "out" / "plots" / "a.svg").write_text("mine", encoding="utf-8")
    mine = {"notes.txt", "maps-of-mine.png", "predictions/other.h5ad", "plots/a.svg"}
    before = files_in(tmp_path / "out")
    assert {"predictions/old%2F2.h5ad", "maps-old%2F2.png"} < before
    write_evaluation(evaluation_of("S1"), tmp_path / "out", overwrite=True)
    found = files_in(tmp_path / "out")
    own = {"summary.json", "genes.csv", "gene_pcc.png", "maps.png", "predictions/S1.h5ad"}
    assert found == mine | own
    assert {(tmp_path / "out" / name).read_text(encoding="utf-8") for name in mine} == {"mine"}
    assert list(json.loads((tmp_path / "out" / "summary.json").read_bytes())["sections"]) == ["S1"]


def test_a_damaged_evaluation_is_replaced_and_loses_nothing_of_others(tmp_path: Path) -> None:
    write_evaluation(evaluation_of("S1"), tmp_path / "out")
    (tmp_path / "out" / "summary.json").write_text("{", encoding="utf-8")
    (tmp_path / "out" / "predictions" / "other.h5ad").write_text("mine", encoding="utf-8")
    write_evaluation(evaluation_of("S1"), tmp_path / "out", overwrite=True)
    assert json.loads((tmp_path / "out" / "summary.json").read_bytes())["notices"] == []
    assert (tmp_path / "out" / "predictions" / "other.h5ad").read_text(encoding="utf-8") == "mine"


def test_a_folder_of_others_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="out is not an evaluation that NH2ST wrote: it is not ov"):
        write_evaluation(evaluation_of("S1"), tmp_path / "out", overwrite=True)
    assert files_in(tmp_path) == {"out/summary.json"}
