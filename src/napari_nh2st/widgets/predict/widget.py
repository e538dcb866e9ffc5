"""*Predict* dock: choose a slide and a model, run, watch, stop, continue."""

from typing import TYPE_CHECKING, Any

from anndata import AnnData
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced

from napari_nh2st.errors import InputError
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import STOPPED_KEY, id_of
from napari_nh2st.layers.regions import EDGE, add_region_layer
from napari_nh2st.layers.scale_preview import ScalePreview
from napari_nh2st.session import Session
from napari_nh2st.tiles import TissueMask
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.dock import Dock
from napari_nh2st.widgets.folded import Folded
from napari_nh2st.widgets.image_picker import ImagePicker
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.predict.detail_choice import DetailChoice
from napari_nh2st.widgets.predict.mpp_buttons import UndoMppButton, UsualMppButton
from napari_nh2st.widgets.predict.region_picker import RegionPicker
from napari_nh2st.widgets.predict.result import PredictionResult
from napari_nh2st.widgets.predict.runner import Choice, PredictionRunner
from napari_nh2st.widgets.predict.settings_form import PredictSettingsForm
from napari_nh2st.widgets.predict.slide_facts import SlideFacts
from napari_nh2st.widgets.predict.tissue import TissueButton
from napari_nh2st.widgets.remembered_controls import RememberedControls
from napari_nh2st.widgets.run_controls import RunControls
from napari_nh2st.widgets.scrolled import scroll_within
from napari_nh2st.widgets.slide_choice import SlideChoice

if TYPE_CHECKING:
    import napari

_MS_BEFORE_ESTIMATE = 200
_TILES_ALONG_SLIDE = 50
"""Side of a tile where the µm/px is not known, as a part of the slide's longer side."""


class PredictWidget(Dock):
    """Predict expression over a slide layer and show it while it is computed.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    slide, image, facts, tissue
        The slide, its image where its file has several, what is known of it, and its tissue.
    model, region, detail, settings
        Model, region, step and other settings of the next run.
    run, cancel, bar, status
        Controls of the run.
    result
        The current prediction: its shown gene, and its export.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, "predict", has_jobs=True, parent=parent)
        self.slide = SlideChoice(napari_viewer, self.connections)
        self.image = ImagePicker(napari_viewer, self.slide)
        self.undo_mpp = UndoMppButton(self.slide)
        self.usual_mpp = UsualMppButton(self.slide, self.connections)
        self.facts = SlideFacts()
        self.tissue = TissueButton(napari_viewer, self.connections, self.slide)
        self.model = ModelPicker()
        self.region = RegionPicker(napari_viewer, self.connections)
        self.new_region = QPushButton("New region")
        self.new_region.setToolTip("Add a Shapes layer in the slide's pixels, to draw polygons in")
        self.preview = ScalePreview(napari_viewer)
        self.to_scale = QCheckBox("Show tile and neighborhood to scale")
        self.to_scale.setToolTip(
            "Draw a tile and its 3 × 3 neighborhood in the middle of the view: what the model "
            "sees at once"
        )
        self.detail = DetailChoice()
        self.settings = PredictSettingsForm(DevicePicker(self.idle_jobs), self.detail)
        self.controls = RunControls()
        self.run, self.cancel = self.controls.run, self.controls.cancel
        self.bar, self.status = self.controls.bar, self.controls.status
        self.run.setToolTip("Predict the slide, what is in view first (F5)")
        self.cancel.setToolTip("Stop after the batch under way; the heatmap stays (Shift+F5)")
        self.bar.setToolTip("Tiles done")
        self.session = Session.of(napari_viewer)
        self.result = PredictionResult(self.session, self.connections)
        self.gene, self.export = self.result.gene, self.result.export
        self.runner = PredictionRunner(self.session, self.controls, self.result.gene_for, self)
        self._status_of = ""  # id of the slide layer that status and bar are about
        self._estimate_soon = qdebounced(self._estimate, _MS_BEFORE_ESTIMATE, parent=self)
        self._lay_out()

        self.slide.picker.changed.connect(self._on_slide)
        self.slide.mpp.valueChanged.connect(self._on_slide)
        self.settings.pitch.valueChanged.connect(self._on_slide)
        self.model.changed.connect(self._on_model)
        self.region.changed.connect(self._on_choice)
        self.settings.changed.connect(self._on_choice)
        self.region.moved.connect(self._on_edited)
        self.tissue.edited.connect(self._on_edited)
        self.facts.known.connect(self._on_edited)
        self.to_scale.toggled.connect(self._show_to_scale)
        self.new_region.clicked.connect(self._add_region)
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self.stop)
        self.bind_key("F5", self.run)
        self.bind_key("Shift+F5", self.cancel)
        self.settings.forget.forgotten.connect(self._on_forgotten)
        self.settings.reset.clicked.connect(self.reset_settings)
        self.connect_to(self.session.heatmap_changed, self._name_run_button)
        self.connect_to(self.session.runs.changed, self._name_run_button)
        self.runner.ended.connect(self._on_ended)
        self.connections.when_opened(self._on_slide)
        controls = {"model": self.model, **self.settings.controls}
        del controls["features"]  # those of another slide are of no use
        self._remembered_controls = RememberedControls(self.remembered, controls)
        self._on_model(self.model.config)
        self.open()

    # --- running ---

    @property
    def heatmap(self) -> Heatmap | None:
        """The heatmap that is selected, or the last."""
        return self.session.heatmap

    @property
    def prediction(self) -> AnnData | None:
        """Its prediction."""
        return self.session.prediction

    @property
    def is_running(self) -> bool:
        """Whether a prediction runs."""
        return self.runner.is_running

    def start(self) -> None:
        """Predict with what is chosen; problems are shown as notifications."""
        if self.is_running:
            return
        self.slide.mpp.interpretText()  # F5 comes before what was typed is taken
        self._status_of = self._picked_slide()
        try:
            slide, layer = self.slide.chosen(), self.slide.layer
            assert layer is not None
            tissue = self.tissue.mended(layer, slide)
            choice = self._choice(self.model.value(), tissue)
        except InputError as error:
            show_error(str(error))
            self.status.setText(str(error))
            return
        self.slide.in_use = slide
        self.settings.forget.allow(False)
        keep_bytes = self.settings.keep_gb.value() * 1e9 if self.settings.keep.isChecked() else None
        self.runner.start(
            self.process.ready(), layer, slide, choice, keep_bytes, self.facts.foreseen(), tissue
        )

    def stop(self) -> None:
        """Stop the run after the batch under way."""
        self.runner.stop()

    def end_jobs(self) -> None:
        """Stop the run with the dock."""
        self.runner.end()
        self.slide.release()

    def close_down(self) -> None:
        """Stop, let go of the viewer, and take away what is drawn to scale."""
        self.preview.hide()
        super().close_down()

    def _on_ended(self, stopped: bool) -> None:
        self.slide.release()
        self.settings.forget.allow(True)
        self._estimate_soon()  # the speed of this machine is known by now
        if stopped:
            self.process.start_again()
        if self.runner.slide_layer is not None and self._picked_slide() != self._status_of:
            self.status.setText(f"{self.runner.slide_layer.name}: {self.status.text()}")
            self._status_of = self._picked_slide()  # it says itself whose it is
        self._name_run_button()

    # --- choices ---

    def chosen_settings(self, layer: Image) -> PredictSettings:
        """The settings that the controls stand for.

        Parameters
        ----------
        layer
            Shows the slide.

        Raises
        ------
        InputError
            The region has no area, the panel lacks a gene, or a setting cannot be used.
        """
        return self.settings.chosen(self.region.polygons(layer))

    def _choice(self, model: str, tissue: TissueMask | None) -> Choice:
        """The run that the controls stand for, with a model that can be found."""
        slide, layer = self.slide.chosen(), self.slide.layer
        assert layer is not None
        painted = None if tissue is None else tissue.sha256
        settings = self.chosen_settings(layer)
        return Choice(slide.path, slide.image, slide.mpp, model, settings, painted)

    def reset_settings(self) -> None:
        """All controls as they were at first."""
        self._remembered_controls.reset()
        self.settings.genes.show_value(None)

    def _on_choice(self, _value: Any = None) -> None:
        """What was said of another slide is over."""
        if not self.is_running and self._picked_slide() != self._status_of:
            self._status_of = self._picked_slide()
            self.status.setText("")
            self.controls.reset_bar()
        has_steps = not self.settings.features.is_needed
        self.detail.show_pitch(self._pitch_um() if has_steps else None)
        self._estimate_soon()
        self._name_run_button()

    def _on_slide(self, _value: Any = None) -> None:
        slide = self.slide.peek()
        self.facts.show_slide(slide, self.model.config, self.settings.pitch.value() or None)
        self.usual_mpp.offer_for(None if slide is None else slide.shape)
        if self.to_scale.isChecked():
            self._show_to_scale(True)
        self._on_choice()

    def _on_edited(self, _value: Any = None) -> None:
        """Other tiles than before may be in what is chosen."""
        self._estimate_soon()

    def _estimate(self) -> None:
        """Count the tiles of each step, as soon as it is known where they lie."""
        slide, layer, config = self.slide.peek(), self.slide.layer, self.model.config
        if slide is None or layer is None or config is None or slide.mpp is None:
            self.detail.forget_costs()
            return
        try:
            settings = self.chosen_settings(layer)
            tissue = painted = self.tissue.mended(layer, slide)
        except InputError:  # Run says what is wrong
            self.detail.forget_costs()
            return
        self.facts.show_painted(painted)
        finds_tissue = settings.tissue_only and not config.takes_features
        if painted is None and finds_tissue and slide.brightfield:
            if self.facts.found is None:
                self.detail.forget_costs()  # it is being looked for
                return
            tissue = self.facts.found.mask
        self.detail.estimate(slide, config, settings, tissue)

    def _pitch_um(self) -> float | None:
        """The pitch of the next run; None while it is not known."""
        config = self.model.config
        return self.settings.pitch.value() or (None if config is None else config.pitch_um)

    def _on_model(self, config: Any) -> None:
        self.settings.show_for(config, self.form)
        self._on_slide()

    def _on_forgotten(self) -> None:
        for layer in self.viewer.layers:
            layer.metadata.pop(STOPPED_KEY, None)
        self._name_run_button()

    def _name_run_button(self) -> None:
        """*Continue* where the next run would go on with the one that was stopped."""
        layer = self.slide.layer
        heatmaps = self.session.made_for(layer) if layer is not None else ()
        goes_on = False
        if heatmaps and not self.is_running and self.settings.keep.isChecked():
            try:
                slide = self.slide.chosen()
                assert layer is not None
                choice = self._choice(self.model.text, self.tissue.mended(layer, slide))
                goes_on = any(self.runner.continues(each, choice) for each in heatmaps)
            except InputError:  # something is still to be chosen
                goes_on = False
        self.run.setText("Continue" if goes_on else "Run")

    def _picked_slide(self) -> str:
        return "" if self.slide.layer is None else id_of(self.slide.layer)

    # --- the viewer ---

    def _show_to_scale(self, wanted: bool) -> None:
        layer, slide, config = self.slide.layer, self.slide.peek(), self.model.config
        if not wanted:
            self.preview.hide()
        elif layer is None or slide is None or slide.mpp is None or config is None:
            show_info("A slide with its µm/px and a model are needed to draw a tile to scale.")
            self.to_scale.setChecked(False)
        else:
            pitch_um = self.settings.pitch.value() or config.pitch_um
            self.preview.show(layer, slide, config.tile_um, pitch_um)

    def _add_region(self) -> None:
        layer, slide, config = self.slide.layer, self.slide.peek(), self.model.config
        if layer is None or slide is None:
            show_info("Open a slide to draw regions on.")
            return
        tile_px = max(slide.shape) / _TILES_ALONG_SLIDE
        if slide.mpp is not None and config is not None:
            tile_px = config.tile_um / slide.mpp[0]
        self.region.value = add_region_layer(self.viewer, layer, EDGE * tile_px)

    # --- appearance ---

    def _lay_out(self) -> None:
        slide = QVBoxLayout()
        slide.addWidget(self.slide.picker)
        slide.addWidget(self.image)
        mpp = QHBoxLayout()
        mpp.addWidget(self.slide.mpp, 1)
        mpp.addWidget(self.usual_mpp)
        mpp.addWidget(self.undo_mpp)
        where = QHBoxLayout()
        where.addWidget(self.region, 1)
        where.addWidget(self.new_region)
        self.form = form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.addRow("Slide", slide)
        form.addRow("µm/px", mpp)
        form.addRow(self.facts)
        form.addRow("", self.tissue)
        form.addRow("Model", self.model)
        form.addRow("Features", self.settings.features)
        form.addRow("Where", where)
        form.addRow("", self.to_scale)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addLayout(form)
        layout.addWidget(
            Folded("More", self.settings, "Genes, pitch, tissue, device, kept results")
        )
        layout.addWidget(self.result)
        layout.addStretch()
        detail = QFormLayout()
        detail.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        detail.addRow("Detail", self.detail)
        below = QWidget()
        column = QVBoxLayout(below)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(detail)
        column.addWidget(self.controls)
        area = scroll_within(self, content, below=below)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
