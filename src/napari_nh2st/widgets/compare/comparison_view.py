"""Measured values, or a comparison, of one gene at a time: table, plot, and kind of values."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_nh2st.session import Session
from napari_nh2st.session.comparison import unit_of
from napari_nh2st.session.measured_layers import COLORMAPS, KINDS, Kind
from napari_nh2st.session.picked_spot import go_to_spot, mark_spot
from napari_nh2st.widgets.canvas_picture import CanvasPicture
from napari_nh2st.widgets.compare.color_scale import ColorScale
from napari_nh2st.widgets.compare.gene_table import GeneTable
from napari_nh2st.widgets.compare.scatter import GeneScatter
from napari_nh2st.widgets.export_button import ExportButton
from napari_nh2st.widgets.labels import MarkupLabel, PlainLabel

_KIND_TIPS: dict[Kind, str] = {
    "measured": "Measured values, in the unit of the model's training",
    "predicted": "What the model predicts at the spots, in the colors of the measured values",
    "residual": "Predicted minus measured: teal where the model says more, brown where less",
}


class ComparisonView(QWidget):
    """The current section: its summary, the values shown in the viewer, its genes and a plot.

    Parameters
    ----------
    session
        Has the sections.

    Attributes
    ----------
    summary, notices
        Scores over all genes, and what a reader of them has to know.
    kinds
        Buttons by the kind of values that they show.
    beside
        Shows two kinds side by side.
    scale, unit
        Colors of the values, and their unit.
    genes, scatter, spot
        Table and plot, and what is known of the spot whose point was clicked.
    export, report
        Buttons that write files.
    picture
        Buttons that save or copy what the canvas shows.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._sections = session.measured
        self.picture = CanvasPicture(session)
        self._shown: object = None
        self.summary = MarkupLabel(
            wrap=True, tip="Over all genes that vary; the interval is over resampled spots"
        )
        self.notices, self.unit = PlainLabel(wrap=True), PlainLabel(wrap=True)
        for label in (self.summary, self.notices, self.unit):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.hide()
        self.kinds: dict[Kind, QRadioButton] = {}
        self._group = QButtonGroup(self)
        for kind in KINDS:
            button = self.kinds[kind] = QRadioButton(kind.capitalize())
            button.setToolTip(_KIND_TIPS[kind])
            button.clicked.connect(lambda _checked, kind=kind: self.show_kind(kind))
            self._group.addButton(button)
        self.beside = QCheckBox("Side by side")
        self.beside.setToolTip(
            "Measured on the left, predicted or the residual on the right, moved and zoomed "
            "together"
        )
        self.scale = ColorScale()
        self.scale.setToolTip("Values of the colors shown")
        self.genes = GeneTable()
        self.scatter = GeneScatter()
        self.export = ExportButton()
        self.report = QPushButton("Write report…")
        self.report.setToolTip(
            "Write a folder: scores, the prediction with the measured values, maps and the "
            "genes' PCC"
        )
        self.spot = PlainLabel(
            wrap=True, tip="Spot whose point you clicked; it is ringed on the slide"
        )
        self.spot.hide()
        self._picked: int | None = None
        self.scatter.picked.connect(self.pick_spot)
        self.genes.table.gene_entered.connect(self.show_gene)
        self.beside.toggled.connect(self._on_beside)
        self._lay_out()

    def show_gene(self, gene: str) -> None:
        """Show a gene in all layers and in the plot."""
        section = self._sections.current
        if section is not None and (section.table["gene"] == gene).any():
            section.layers.show_gene(gene)

    def pick_spot(self, spot: int | None) -> None:
        """Ring a spot on the slide and in the plot, and bring it into view; None for none."""
        self._picked = spot
        section = self._sections.current
        if section is not None and section.layers.layers:
            layers = section.layers.layers
            mark_spot(layers.values(), spot)
            if spot is not None:
                go_to_spot(self._session.viewer, next(iter(layers.values())), spot)
        self._show_spot()

    def _show_spot(self) -> None:
        """Say what is known of the picked spot."""
        section, text = self._sections.current, ""
        results = None if section is None else section.results
        spot = self._picked
        if section is not None and results is not None and spot is not None:
            mark_spot(section.layers.layers.values(), spot)  # one of them may be new
            measured, predicted, _ = results.of_gene(section.layers.gene)
            name = results.compared.prediction.obs_names[spot]
            text = f"{name}: measured {measured[spot]:.3g}, predicted {predicted[spot]:.3g}"
        self.scatter.show_picked(spot)
        self.spot.show_text(text)

    def show_kind(self, kind: Kind) -> None:
        """Show measured values, predicted ones or the residual."""
        section = self._sections.current
        if section is not None and section.slide_layer is not None:
            section.layers.show_kind(kind)

    def show_section(self) -> None:
        """Show the current section as it is now."""
        section = self._sections.current
        results = section.results if section is not None else None
        there = section is not None and section.slide_layer is not None
        is_free = section is not None and not section.locked
        for kind, button in self.kinds.items():
            button.setEnabled(there and (results is not None or kind == "measured"))
        self.beside.setEnabled(there and results is not None)
        self.report.setEnabled(results is not None and is_free)
        for part, wanted in (
            (self.scale, there),
            (self.picture, there),
            (self.genes, there or results is not None),
            (self.scatter, results is not None),
            (self.export, results is not None),
            (self.report, results is not None),
        ):
            part.setVisible(wanted)
        self.summary.show_text(results.summary if results is not None else "")
        notices = results.notices if results is not None else ()
        self.notices.show_text("\n".join(f"⚠ {notice}" for notice in notices))
        shown = None if section is None else results or section.target
        if section is not None and shown is not self._shown and (there or results is not None):
            self.genes.show_table(section.table, section.layers.gene)
        if shown is not self._shown:
            self._picked = None  # other spots
        self._shown = shown
        if results is not None:
            self.export.offer(results.compared.prediction, results.name)
        self.show_display()

    def show_display(self) -> None:
        """Show which gene and kind of values the section's layers show."""
        section = self._sections.current
        with signals_blocked(self.beside):
            self.beside.setChecked(section is not None and section.layers.is_side_by_side)
        if section is None:
            self.unit.hide()
            return
        layers, results = section.layers, section.results
        self.genes.view.go_to(layers.gene)
        self.kinds[layers.kind].setChecked(True)
        if layers.kind in layers.limits:
            self.scale.show_limits(COLORMAPS[layers.kind], layers.limits[layers.kind])
            is_standardized = results is not None and results.is_standardized
            unit = unit_of(layers.kind, standardized=is_standardized)
            there = section.slide_layer is not None
            self.unit.show_text(f"{layers.gene}: {unit}" if there else "")
        if results is not None:
            self.scatter.show_gene(layers.gene, *results.of_gene(layers.gene))
        self._show_spot()

    def _on_beside(self, beside: bool) -> None:
        section = self._sections.current
        if section is not None:
            section.layers.show_side_by_side(beside)
        self.show_display()  # its layers may be missing

    def _lay_out(self) -> None:
        kinds = QHBoxLayout()
        for button in self.kinds.values():
            kinds.addWidget(button)
        kinds.addStretch()
        files = QHBoxLayout()
        files.addWidget(self.export)
        files.addWidget(self.report)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.summary)
        layout.addWidget(self.notices)
        layout.addLayout(kinds)
        for part in (self.beside, self.scale, self.unit, self.genes, self.scatter, self.spot):
            layout.addWidget(part)
        layout.addLayout(files)
        layout.addWidget(self.picture)
