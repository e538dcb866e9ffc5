"""A comparison of a prediction with measured ST: values, table of genes, and sentences."""

import html
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis import residual
from napari_nh2st.jobs.comparison import Compared, kept_comparison, section_of
from napari_nh2st.model.config import PUBLISHED_TARGET
from napari_nh2st.prediction.schema import MEASURED, notes, reliability, slide_mpp
from napari_nh2st.session.measured_layers import Kind
from napari_nh2st.spots.positions import positions

COLUMNS = ("gene", "PCC", "low", "high", "reliability", "MSE/mean")
"""Of :func:`gene_table`."""


class ComparisonResults:
    """A comparison, ready to be shown.

    Parameters
    ----------
    compared
        Prediction at the spots, scores, summary and notices.

    Attributes
    ----------
    compared
        The same.
    values
        Spots × genes of each kind.
    positions
        (spots, 2) (x, y) in full-resolution pixels.
    pitch_px
        Distance between spots, in full-resolution pixels.
    is_standardized
        Whether residuals are those of standardized values: a section that lacks genes is scaled
        over the others, so that its values are in another unit than the predicted.
    table
        One row a gene, see :func:`gene_table`.
    summary, notices
        Sentences; the summary is markup.
    name
        Proposed for a file.
    """

    def __init__(self, compared: Compared) -> None:
        self.compared = compared
        prediction = compared.prediction
        measured = np.asarray(prediction.layers[MEASURED])
        self.is_standardized = bool(np.isnan(measured).all(0).any())
        arrays: dict[Kind, NDArray[np.float32]] = {
            "measured": measured,
            "predicted": np.asarray(prediction.X),
            "residual": residual(prediction, standardize=self.is_standardized),
        }
        self.values = {
            kind: pd.DataFrame(array, columns=prediction.var_names)
            for kind, array in arrays.items()
        }
        self.positions: NDArray[np.float64] = positions(prediction)
        about = notes(prediction)
        self.pitch_px = float(about["pitch_um"]) / float(np.sqrt(np.prod(slide_mpp(prediction))))
        self.table = gene_table(
            list(prediction.var_names), reliability(prediction), compared.scores
        )
        self.summary = summary_markup(compared.summary, str(about["model"]["name"]))
        self.notices = list(compared.notices)
        if self.is_standardized:
            self.notices.append("The residual is computed from standardized values.")
        self.name = f"{section_of(prediction)}-compared"
        self._scores = compared.scores

    @classmethod
    def of_prediction(cls, prediction: AnnData) -> "ComparisonResults":
        """From the prediction alone, as a file has it.

        Parameters
        ----------
        prediction
            Spots × genes with ``layers["measured"]``, as
            :func:`~napari_nh2st.jobs.comparison.kept_comparison` takes it.

        Raises
        ------
        InputError
            There is no ``layers["measured"]``, or fewer than two spots have both values.
        """
        return cls(kept_comparison(prediction))

    def of_gene(self, gene: str) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
        """(spots,) measured and (spots,) predicted values of a gene, and its scores as a title."""
        measured, predicted = (
            self.values[kind][gene].to_numpy() for kind in ("measured", "predicted")
        )
        return measured, predicted, gene_title(gene, self._scores)


def gene_table(
    genes: list[str], reliability: pd.Series, scores: pd.DataFrame | None
) -> pd.DataFrame:
    """Table of the genes that were measured or compared.

    Parameters
    ----------
    genes
        Taken while there are no scores.
    reliability
        By gene; NaN or left out where it is not known.
    scores
        From :func:`~napari_nh2st.analysis.scores.gene_scores`; None before a comparison.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`; by PCC, the highest first, and before a comparison by reliability.
    """
    names = genes if scores is None else scores["gene"].tolist()
    table = pd.DataFrame(np.nan, index=range(len(names)), columns=list(COLUMNS)).astype(
        {"gene": object}
    )
    table["gene"] = names
    table["reliability"] = reliability.reindex(names).to_numpy(np.float64)
    if scores is not None:
        for column, score in (("PCC", "pcc"), ("low", "pcc_low"), ("high", "pcc_high")):
            table[column] = scores[score].to_numpy(np.float64)
        baseline = scores["mse_baseline"].where(scores["mse_baseline"] > 0)
        table["MSE/mean"] = (scores["mse"] / baseline).to_numpy(np.float64)
    by = "reliability" if scores is None else "PCC"
    return table.sort_values(by, ascending=False, kind="stable", ignore_index=True)


def summary_markup(summary: dict[str, Any], model: str) -> str:
    """Mean PCC over all genes, and the share of them that is better than the mean, as markup.

    Parameters
    ----------
    summary
        From :func:`~napari_nh2st.analysis.scores.summarize`.
    model
        Its name.
    """
    mean = summary["mean_pcc"]
    counted = summary["n_genes"] - summary["n_genes_without_pcc"]
    if mean is None:
        return f"{html.escape(model)}: no gene varies in both, so there is no correlation."
    interval = _interval(summary["mean_pcc_low"], summary["mean_pcc_high"])
    text = f"<b>Mean PCC {_number(mean)}</b>{interval} over {counted} genes, "
    text += f"{summary['n_spots']} spots, with {html.escape(model)}."
    without = summary["n_genes_without_pcc"]
    if without:
        text += f" {without} genes have no PCC: they were not measured, or do not vary."
    better = summary["better_than_mean"]
    if better is not None:
        text += f" {better:.0%} of the genes are predicted better than by the training's mean."
    return text


def gene_title(gene: str, scores: pd.DataFrame) -> str:
    """A gene with its PCC and interval."""
    row = scores.set_index("gene").loc[gene]
    if pd.isna(row["pcc"]):
        return f"{gene} · no PCC"
    return f"{gene} · PCC {_number(row['pcc'])}{_interval(row['pcc_low'], row['pcc_high'])}"


def unit_of(kind: Kind, *, standardized: bool = False) -> str:
    """Unit of a kind of values.

    Parameters
    ----------
    kind
        Kind of the layer.
    standardized
        Whether the residual is that of standardized values.
    """
    if kind == "residual" and standardized:
        return (
            "predicted minus measured, each standardized over the spots (mean 0, standard "
            "deviation 1)"
        )
    unit = str(PUBLISHED_TARGET["description"])
    return f"predicted minus measured, in {unit}" if kind == "residual" else unit


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return ""
    return f" ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    """A number with a true minus."""
    return f"{value:.2f}".replace("-", "−")
