"""The folder that an evaluation is written to, and read from."""

import json
import os
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.density_scores import save_density_figure, scores_by_density
from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.evaluation.figures import save_gene_pcc, save_maps
from napari_nh2st.files import check_place, make_folder, recover, whole_output
from napari_nh2st.files_of_others import files_of_others, keep_files
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.prediction.schema import notes
from napari_nh2st.table_cells import write_csv

SUMMARY_FILE, SCORES_FILE = "summary.json", "genes.csv"


def write_evaluation(
    evaluation: Evaluation, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write an evaluation as a folder, all of it or nothing.

    Parameters
    ----------
    evaluation
        From :func:`~napari_nh2st.evaluation.evaluate`.
    folder
        Created with its parents. It gets

        - ``summary.json``: the summary, that of each section, the notices and the model;
        - ``genes.csv``: the scores;
        - ``predictions/<section>.h5ad``: predicted and measured values with the section's scores,
          which napari opens as a comparison;
        - ``by_density.csv`` and ``by_density.png``, if nuclei were counted, see
          :func:`~napari_nh2st.evaluation.density_scores.scores_by_density`;
        - ``gene_pcc.png``, and ``maps.png`` or, for several sections, ``maps-<section>.png``.

        In file names, characters of a section's name other than letters, digits and ``_.-~`` are
        percent-encoded.
    overwrite
        Whether an existing evaluation, recognized by its files, may be replaced; other files in
        the folder are kept.

    Raises
    ------
    InputError
        The folder exists and may not be replaced, is not an evaluation, or cannot be written.
    """
    folder = Path(folder)
    recover(folder)
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} already exists; give another folder or remove it first")
    make_folder(folder.parent)
    kind = "an evaluation that NH2ST wrote"
    check_place(folder, overwrite, is_ours=_is_evaluation, kind=kind, folder=True)
    others = files_of_others(folder, _own_files(folder))
    with whole_output(folder) as draft:
        draft.mkdir()
        try:
            _write_files(evaluation, draft)
            keep_files(folder, draft, others)
        except InputError as error:
            # The path is that of the draft, which the user does not know: give the reason alone.
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise


def read_evaluation(folder: str | os.PathLike[str]) -> Evaluation:
    """Read what :func:`write_evaluation` wrote.

    Raises
    ------
    InputError
        A file of it is missing or damaged.
    """
    folder = Path(folder)
    recover(folder)
    path = folder / SUMMARY_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        path = folder / SCORES_FILE
        scores = pd.read_csv(
            path,
            dtype={"gene": str},
            keep_default_na=False,  # a gene may be called NA
            na_values=[""],
            float_precision="round_trip",
        )
        sections, notices = dict(content["sections"]), tuple(content["notices"])
        summary = dict(content["summary"])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged: {error}") from None
    predictions = {name: read_anndata_file(_prediction_file(folder, name)) for name in sections}
    return Evaluation(predictions, scores, summary, sections, notices)


def _prediction_file(folder: Path, section: str) -> Path:
    return folder / "predictions" / f"{_file_name(section)}.h5ad"


def _file_name(section: str) -> str:
    return quote(section, safe="")


def _is_evaluation(folder: Path) -> bool:
    return (folder / SUMMARY_FILE).is_file() and (folder / SCORES_FILE).is_file()


def _own_files(folder: Path) -> list[str]:
    """Files that :func:`write_evaluation` put into a folder, those of its sections among them."""
    own = [SUMMARY_FILE, SCORES_FILE, "maps.png", "gene_pcc.png", "by_density.*"]
    try:
        sections = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))["sections"]
        names = [_file_name(section) for section in sections]
    except (OSError, ValueError, TypeError, KeyError):  # damaged: what is written anew is replaced
        names = []
    predictions = [f"predictions/{name}.h5ad" for name in names]
    return [*own, *predictions, *(f"maps-{name}.png" for name in names)]


def _write_files(evaluation: Evaluation, folder: Path) -> None:
    predictions = evaluation.predictions
    content = {
        "summary": evaluation.summary,
        "sections": evaluation.section_summaries,
        "coverage": {name: each.to_json() for name, each in evaluation.coverage.items()},
        "notices": list(evaluation.notices),
        "model": notes(next(iter(predictions.values())))["model"],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / SUMMARY_FILE).write_text(text + "\n", encoding="utf-8")
    write_csv(folder / SCORES_FILE, evaluation.scores.to_csv(index=False))
    (folder / "predictions").mkdir()
    for name, prediction in predictions.items():
        write_anndata(prediction, _prediction_file(folder, name))
        maps = "maps.png" if len(predictions) == 1 else f"maps-{_file_name(name)}.png"
        save_maps(prediction, evaluation.scores, folder / maps)
    save_gene_pcc(evaluation.scores, evaluation.summary, folder / "gene_pcc.png")
    if (by_density := scores_by_density(predictions.values())) is not None:
        write_csv(folder / "by_density.csv", by_density.to_csv(index=False))
        save_density_figure(by_density, folder / "by_density.png")
