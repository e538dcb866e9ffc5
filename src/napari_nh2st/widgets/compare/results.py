"""What the *Compare* widget shows of a comparison: layers, table, plot and sentences."""

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis import residual
from napari_nh2st.jobs.comparison import Compared, kept_comparison, section_of
from napari_nh2st.prediction.schema import slide_mpp
from napari_nh2st.widgets.compare.layers import Kind
from napari_nh2st.widgets.compare.table import comparison_columns
from napari_nh2st.widgets.compare.words import gene_in_words, summary_in_words


class ComparisonResults:
    """A comparison, ready to be shown.

    Parameters
    ----------
    compared
        What came out.

    Attributes
    ----------
    compared
        What came out.
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
        One row a gene, see :func:`~napari_nh2st.widgets.compare.table.comparison_columns`.
    summary, notices
        Sentences.
    name
        For a file.
    """

    def __init__(self, compared: Compared) -> None:
        self.compared = compared
        prediction = compared.prediction
        measured = np.asarray(prediction.layers["measured"])
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
        self.positions: NDArray[np.float64] = np.asarray(prediction.obsm["spatial"], np.float64)
        about = prediction.uns["nh2st"]
        self.pitch_px = float(about["pitch_um"]) / float(np.sqrt(np.prod(slide_mpp(prediction))))
        self.table = comparison_columns(
            list(prediction.var_names), _reliability(prediction), compared.scores
        )
        self.summary = summary_in_words(compared.summary, str(about["model"]["name"]))
        self.notices = list(compared.notices)
        if self.is_standardized:
            self.notices.append("The residual is that of standardized values.")
        self.name = f"{section_of(prediction)}-compared"
        self._scores = compared.scores

    @classmethod
    def of_prediction(cls, prediction: AnnData) -> "ComparisonResults":
        """What there is to show of a comparison that was kept in a layer, or in a file.

        Parameters
        ----------
        prediction
            Spots × genes with ``layers["measured"]``, as
            :func:`~napari_nh2st.jobs.comparison.kept_comparison` takes it.

        Raises
        ------
        InputError
            There is no ``layers["measured"]``, or fewer than two spots have both.
        """
        return cls(kept_comparison(prediction))

    def of_gene(self, gene: str) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
        """What was measured and predicted of a gene at the spots, and its scores as a title."""
        measured, predicted = (
            self.values[kind][gene].to_numpy() for kind in ("measured", "predicted")
        )
        return measured, predicted, gene_in_words(gene, self._scores)


def _reliability(prediction: AnnData) -> pd.Series:
    """By gene; empty where a file has none."""
    known: pd.Series = prediction.var.get("reliability", pd.Series(dtype=np.float64))
    return known
