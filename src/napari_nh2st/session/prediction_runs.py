"""Heatmaps of new runs: added to the slide's former one, replacing it, or in a new layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from napari.layers import Image
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import STOPPED_KEY
from napari_nh2st.prediction.lattice import step_um
from napari_nh2st.prediction.schema import notes, of_same_model, slide_mpp
from napari_nh2st.prediction.union import Union, is_of_region, of_same_map

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


@dataclass(frozen=True, eq=False)
class PredictionRunMap:
    """The heatmap that shows a run, and its values.

    Parameters
    ----------
    heatmap
        Shows them.
    prediction
        Of the run: it fills up.
    union
        Of it and the former map; None where the heatmap shows the run's own prediction.
    """

    heatmap: Heatmap
    prediction: AnnData
    union: Union | None = None

    def bring(self, tiles: NDArray[np.int64]) -> None:
        """Take the values of these rows of the run's prediction into the map."""
        if self.union is not None:
            self.union.bring(tiles)

    def show_preview(self, tiles: NDArray[np.int64]) -> None:
        """Show the preview of these rows, which the run's prediction has, in the map."""
        if self.union is not None:
            self.union.show_preview(tiles)

    def finish(self) -> None:
        """Take what the ended run says of its tiles into the map."""
        if self.union is not None:
            self.union.finish()

    @property
    def n_done(self) -> int:
        """Number of the run's tiles that have values."""
        return int(np.isfinite(self.prediction.X).any(1).sum())


class PredictionRuns:
    """Shows the predictions of new runs, and undoes that.

    - A run with another model, step, pitch, layout, µm/px or list of genes gets its own layer.
    - Otherwise, a run in a region adds its tiles to the existing heatmap.
    - Otherwise, a run over the whole slide replaces the existing heatmap.

    A heatmap that the user has renamed is kept as it is.

    Parameters
    ----------
    session
        Has viewer and heatmaps.

    Attributes
    ----------
    changed
        Emitted when the former heatmap that can be restored changes.
    """

    changed = Signal()

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._former: dict[Any, tuple[AnnData, Image]] = {}
        session.viewer.layers.events.removed.connect(self._on_removed)

    def show(
        self, slide_layer: Image, prediction: AnnData, gene: str, goes_on: bool = False
    ) -> PredictionRunMap:
        """Show the prediction of a run, which may still fill up.

        Parameters
        ----------
        slide_layer
            The slide's layer.
        prediction
            At tiles.
        gene
            Gene shown first in a new layer.
        goes_on
            Whether the run continues the one shown last: :meth:`undo` then goes back to before
            both, or is not possible if that was the first.
        """
        maps = self._session.made_for(slide_layer)
        same = [each for each in maps if of_same_map(each.prediction, prediction)]
        if not same:
            heatmap = self._session.add_heatmap(
                slide_layer, prediction, gene, _differences(prediction, maps)
            )
            for each in maps:
                each.detail = each.detail or _differences(each.prediction, [heatmap])
            return PredictionRunMap(heatmap, prediction)
        heatmap = same[-1]
        former, union = heatmap.prediction, None
        if is_of_region(prediction):
            union = Union.of(former, prediction)
        if not goes_on:
            self._former[heatmap.layer] = former, slide_layer
        heatmap.take(prediction if union is None else union.prediction, slide_layer)
        self.changed.emit()
        return PredictionRunMap(heatmap, prediction, union)

    def can_undo(self, heatmap: Heatmap | None) -> bool:
        """Whether a heatmap has a former map to go back to, and no run fills the present one."""
        return heatmap is not None and heatmap.layer in self._former and not heatmap.is_filling

    def undo(self, heatmap: Heatmap) -> None:
        """Show the heatmap as before the last run; calling it again shows the changed one."""
        if self.can_undo(heatmap):
            former, slide_layer = self._former[heatmap.layer]
            self._former[heatmap.layer] = heatmap.prediction, slide_layer
            heatmap.layer.metadata.pop(STOPPED_KEY, None)
            heatmap.take(former, slide_layer)
            self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        self._former.pop(event.value, None)


def _differences(prediction: AnnData, others: Iterable[Heatmap]) -> str:
    """What tells a map from others of the slide, for its name: of each, what differs first."""
    found = (_difference(prediction, each.prediction) for each in others)
    return " · ".join(dict.fromkeys(found))


def _difference(prediction: AnnData, other: AnnData) -> str:
    """What tells a map from another one: its model, genes, step, pitch, layout, or µm/px."""
    about, of_other = notes(prediction), notes(other)
    if not of_same_model(prediction, other):
        name = str(about["model"]["name"])
        is_told = name != str(of_other["model"]["name"])
        return name if is_told else f"{name} {str(about['model'].get('sha256'))[:6]}"
    if list(prediction.var_names) != list(other.var_names):
        return f"{prediction.n_vars} genes"
    if not np.isclose(step_um(prediction), step_um(other)):
        return f"{step_um(prediction):.4g} µm"
    if not np.isclose(about["pitch_um"], of_other["pitch_um"]):
        return f"pitch {about['pitch_um']:.4g} µm"
    if about["layout"] != of_other["layout"]:
        return str(about["layout"])
    return f"{slide_mpp(prediction).mean():.4g} µm/px"
