"""What the *Compare* widget shows: measured values, or a comparison, of one gene at a time."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from qtpy.QtWidgets import QWidget

from napari_nh2st.jobs.comparison import Compared
from napari_nh2st.prediction.schema import is_trained
from napari_nh2st.session.comparison import ComparisonResults, gene_table, unit_of
from napari_nh2st.session.measured_layers import COLORMAPS, Kind
from napari_nh2st.widgets.compare.controls import CompareControls
from napari_nh2st.widgets.compare.on_slide import MeasuredOnSlide

if TYPE_CHECKING:
    import napari


class ShownComparison(CompareControls):
    """The controls, with layers, table and plot behind them.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    parent
        Of the widget.

    Attributes
    ----------
    section
        The ST that is loaded, and where it lies.
    compared
        What came out of the last comparison; None before it, and once its spots are elsewhere.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.section = MeasuredOnSlide(napari_viewer, self.slide, self.source, self.fix_box)
        self.compared: Compared | None = None
        self._results: ComparisonResults | None = None
        self._slide_name = ""
        self.section.loaded.connect(self._on_loaded)
        self.slide.picker.changed.connect(self._show_other_slide)
        self.genes.gene_chosen.connect(self.show_gene)
        for kind, button in self.kinds.items():
            button.clicked.connect(lambda _checked, kind=kind: self.show_kind(kind))
        self.beside.toggled.connect(self._on_beside)

    @property
    def is_running(self) -> bool:
        """Whether a comparison runs, or its report is written."""
        raise NotImplementedError

    def _show_state(self) -> None:
        """Enable what can be done now, and show what there is."""
        raise NotImplementedError

    # --- one gene, one kind ---

    def show_gene(self, gene: str) -> None:
        """Show a gene in all layers and in the plot."""
        if self.section.layers is not None:
            self.section.layers.show_gene(gene)
        if self.section.layers is not None or self._results is not None:
            self.genes.choose(gene)
            self._show_gene()

    def show_kind(self, kind: Kind) -> None:
        """Show measured, predicted or the residual."""
        if self.section.layers is not None:
            self.section.layers.show_kind(kind)
            self._show_colors()

    def _on_beside(self, beside: bool) -> None:
        if self.section.layers is not None:
            self.section.layers.show_beside(beside)
            self.beside.setChecked(self.section.layers.is_beside)  # its layers may be missing
            self._show_colors()

    def _on_beside_ended(self) -> None:
        self.beside.setChecked(False)

    def _show_other_slide(self, _layer: Any = None) -> None:
        """Say whose results are shown, where that is not the slide that is chosen."""
        layer, chosen = self.section.slide_layer, self.slide.layer
        if layer is None and self.compared is not None:
            self.other_slide.say(
                f"Results of {self._slide_name}, whose slide is not in the viewer: genes are "
                "shown in the table and the plot only."
            )
        elif layer is None or chosen is None or self.section.lies_on(chosen):
            self.other_slide.say("")
        else:
            what = "Results" if self.compared is not None else "Measured ST"
            name = chosen.name if self.section.measured is not None else None
            self.other_slide.say(f"{what} of {layer.name}, while {chosen.name} is chosen.", name)
        self.other_slide.lay_over.setEnabled(not self.is_running)
        self.mpp_box.is_of_chosen = self.section.lies_on(chosen)

    def _show_gene(self) -> None:
        self._show_colors()
        if self._results is not None:
            gene = self.genes.gene
            self.scatter.show_gene(gene, *self._results.of_gene(gene))

    def _show_colors(self) -> None:
        layers = self.section.layers
        if layers is None:
            return
        self.kinds[layers.kind].setChecked(True)
        self.scale.show_limits(COLORMAPS[layers.kind], layers.limits[layers.kind])
        standardized = self._results is not None and self._results.is_standardized
        unit = unit_of(layers.kind, standardized=standardized)
        self.unit.setText(f"{layers.gene}: {unit}")

    def _forget_results(self) -> None:
        self.compared = self._results = None
        self.summary.setText("")
        self.notices.setText("")
        self.beside.setChecked(False)

    # --- all of it ---

    def _on_loaded(self) -> None:
        """Measured values alone, where the spots are now."""
        layers = self.section.layers
        assert layers is not None
        self._forget_results()
        config = self.model.config
        known = dict((config.reliability if config is not None else None) or {})
        table = gene_table(
            list(self.section.target.columns), pd.Series(known, dtype=np.float64), None
        )
        if layers.gene not in self.section.target:
            kept = self.genes.gene in self.section.target
            layers.gene = self.genes.gene if kept else str(table["gene"].iloc[0])
        layers.kind = "measured"
        layers.set_values(
            {"measured": self.section.target}, self.section.places, self.section.pitch_px
        )
        layers.beside_ended.connect(self._on_beside_ended, unique=True)
        self._offer_mpp()
        self.genes.show_table(table)
        self.genes.choose(layers.gene)
        self.section.keep(None)
        self._show_colors()
        self._show_state()

    def _offer_mpp(self) -> None:
        """Offer what the spots' distance tells, unless that was refused."""
        measured, layer = self.section.measured, self.section.slide_layer
        proposal = measured.mpp_proposal if measured is not None else None
        refused = proposal == self.section.refused_mpp
        name = layer.name if layer is not None else ""
        self.mpp_box.offer(None if refused else proposal, name)

    def _show_results(self, results: ComparisonResults, kind: Kind = "predicted") -> None:
        self.compared, self._results = results.compared, results
        gene = self.genes.gene
        if (layers := self.section.layers) is not None:
            layers.kind, layers.is_trained = kind, is_trained(results.compared.prediction)
            layers.gene = layers.gene or gene
            layers.set_values(results.values, results.positions, results.pitch_px)
            layers.beside_ended.connect(self._on_beside_ended, unique=True)
            gene = layers.gene
        self.genes.show_table(results.table)
        self.genes.choose(
            gene if gene in results.values["measured"] else results.table["gene"].iloc[0]
        )
        self.summary.setText(results.summary)
        self.notices.setText("\n".join(f"⚠ {notice}" for notice in results.notices))
        self.export.offer(results.compared.prediction, results.name)
        self._show_gene()

    def _name_slide(self, compared: Compared) -> None:
        """Whose results these are, also once the slide is gone."""
        layer = self.section.slide_layer
        recorded = str(compared.prediction.uns["nh2st"]["slide"]["name"])
        self._slide_name = recorded if layer is None else layer.name
