"""The controls of the *Predict* widget, and the settings that they stand for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]  # qtpy re-exports
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.layers.scale_preview import ScalePreview
from napari_nh2st.model.sources import bundled_models, is_hub_id
from napari_nh2st.widgets.child_jobs import Jobs
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.folded import Folded
from napari_nh2st.widgets.image_picker import ImagePicker
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.notifications import show_info
from napari_nh2st.widgets.predict.region_choice import RegionChoice
from napari_nh2st.widgets.predict.result import PredictionResult
from napari_nh2st.widgets.predict.run import Box
from napari_nh2st.widgets.predict.settings_form import PredictSettingsForm
from napari_nh2st.widgets.predict.slide_facts import SlideFacts
from napari_nh2st.widgets.predict.undo_mpp import UndoMppButton
from napari_nh2st.widgets.predict.usual_mpp import UsualMppButton
from napari_nh2st.widgets.regions.layers import EDGE, add_region_layer
from napari_nh2st.widgets.scrolled import scroll_within
from napari_nh2st.widgets.slide_choice import SlideChoice

if TYPE_CHECKING:
    import napari


class PredictControls(QWidget):
    """Everything that can be chosen for a prediction, laid out.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    choice_changed
        Emitted when anything is chosen that shapes the next run.
    """

    choice_changed = Signal()

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.slide = SlideChoice(napari_viewer)
        self.image = ImagePicker(napari_viewer, self.slide)
        self.current = CurrentPrediction(napari_viewer)
        self.undo_mpp = UndoMppButton(self.slide)
        self.facts = SlideFacts()
        self.usual_mpp = UsualMppButton(self.slide.mpp.setValue)
        self.model = ModelPicker()
        self.region = RegionChoice(napari_viewer)
        self.new_region = QPushButton("New region")
        self.new_region.setToolTip("A Shapes layer in the slide's pixels, to draw polygons in")
        self.preview = ScalePreview(napari_viewer)
        self.to_scale = QCheckBox("Show tile and neighborhood to scale")
        self.to_scale.setToolTip(
            "Draw a tile and its 3 × 3 neighborhood in the middle of the view: what the model "
            "sees at once"
        )
        self.settings = PredictSettingsForm(DevicePicker(self.idle_jobs))
        self.run = QPushButton("Run")
        self.run.setToolTip("Predict the slide, what is in view first (F5)")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop after the batch under way; the heatmap stays (Shift+F5)")
        self.bar = QProgressBar()
        self.bar.setToolTip("Tiles done")
        self.status = PlainLabel()
        self.status.setWordWrap(True)
        self.result = PredictionResult(napari_viewer, self.current)
        self.gene, self.export = self.result.gene, self.result.export
        self.open_genes = self.result.open_genes
        self._lay_out()
        self._connect()

    def idle_jobs(self) -> Jobs | None:
        """What runs jobs, while it runs none."""
        raise NotImplementedError

    # --- what was chosen ---

    def chosen_settings(self, layer: Image, view: Box | None) -> PredictSettings:
        """The settings that the controls stand for.

        Parameters
        ----------
        layer
            Shows the slide.
        view
            What of it is in view.

        Raises
        ------
        InputError
            The region has no area, the panel lacks a gene, or a setting cannot be used.
        """
        return self.settings.chosen(self.region.polygons(layer, view))

    def to_remember(self) -> dict[str, Any]:
        """What the next session shall begin with."""
        # Not every letter of a name that is being typed.
        is_known = self.model.config is not None or is_hub_id(self.model.text)
        known = {"model": self.model.text} if is_known else {}
        return known | self.settings.to_remember()

    def restore(self, get: Callable[[str, Any], Any]) -> None:
        """Set the controls; ``get`` gives a value by its name, or the default it is handed."""
        bundled = next(iter(bundled_models()), "")
        model = str(get("model", bundled)) or bundled
        self.model.choose(model)
        gone = self.model.config is None and not is_hub_id(model)
        if gone and bundled:  # a folder that is not there any more
            self.model.choose(bundled)
        self.settings.restore(get)

    # --- what is shown ---

    def follow(self) -> None:
        """Offer the viewer's layers from now on."""
        self.slide.follow()
        self.region.follow()
        self.current.follow()
        self._on_slide()

    def close_down(self) -> None:
        """Let go of the viewer."""
        self.preview.hide()
        self.slide.close()
        self.region.close_down()
        self.current.close()

    def _on_slide(self, _value: Any = None) -> None:
        slide = self.slide.peek()
        self.facts.show_slide(slide, self.model.config, self.settings.pitch.value() or None)
        self.usual_mpp.offer_for(None if slide is None else slide.shape)
        if self.to_scale.isChecked():
            self._show_to_scale(True)
        self.choice_changed.emit()

    def _on_model(self, config: Any) -> None:
        self.settings.genes.set_panel(config.panel if config is not None else ())
        self._on_slide()

    def _show_to_scale(self, wanted: bool) -> None:
        layer, slide, config = self.slide.layer, self.slide.peek(), self.model.config
        if not wanted:
            self.preview.hide()
        elif layer is None or slide is None or slide.mpp is None or config is None:
            show_info("A slide with its µm/px and a model are needed to draw a tile to scale.")
            self.to_scale.setChecked(False)
        else:
            # The camera has moved into the scene with napari 0.9.
            camera = getattr(self.viewer, "scene", self.viewer).camera
            center = layer.world_to_data(camera.center[-2:])[-2:]
            inside = all(0 <= c < side for c, side in zip(center, slide.shape, strict=True))
            middle = center if inside else [side / 2 for side in slide.shape]
            pitch = self.settings.pitch.value() or config.pitch_um
            self.preview.show(layer, slide.mpp, middle, config.tile_um, pitch)

    def _add_region(self) -> None:
        layer, slide, config = self.slide.layer, self.slide.peek(), self.model.config
        if layer is None or slide is None:
            show_info("Open a slide to draw regions on.")
            return
        tile_px = max(slide.shape) / 50  # where nothing is known of its scale
        if slide.mpp is not None and config is not None:
            tile_px = config.tile_um / slide.mpp[0]
        self.region.choose(add_region_layer(self.viewer, layer, EDGE * tile_px))

    # --- appearance ---

    def _connect(self) -> None:
        self.slide.picker.changed.connect(self._on_slide)
        self.slide.mpp.valueChanged.connect(self._on_slide)
        self.settings.pitch.valueChanged.connect(self._on_slide)
        self.model.chosen.connect(self._on_model)
        self.to_scale.toggled.connect(self._show_to_scale)
        self.new_region.clicked.connect(self._add_region)
        self.region.currentTextChanged.connect(lambda *_: self.choice_changed.emit())
        self.settings.changed.connect(self.choice_changed.emit)
        for key, button in (("F5", self.run), ("Shift+F5", self.cancel)):
            # Not the button's own, which goes when the button is given another text.
            QShortcut(QKeySequence(key), self).activated.connect(button.click)
        self._on_model(self.model.config)

    def _lay_out(self) -> None:
        mpp = QHBoxLayout()
        mpp.addWidget(self.slide.mpp, 1)
        mpp.addWidget(self.usual_mpp)
        mpp.addWidget(self.undo_mpp)
        where = QHBoxLayout()
        where.addWidget(self.region, 1)
        where.addWidget(self.new_region)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        slide = QVBoxLayout()
        slide.addWidget(self.slide.picker.native)
        slide.addWidget(self.image)
        form.addRow("Slide", slide)
        form.addRow("µm/px", mpp)
        form.addRow(self.facts)
        form.addRow("Model", self.model)
        form.addRow("Where", where)
        form.addRow("", self.to_scale)
        self.more = Folded("More", self.settings, "Genes, pitch, tissue, device, kept results")
        buttons = QHBoxLayout()
        buttons.addWidget(self.run)
        buttons.addWidget(self.cancel)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addLayout(form)
        layout.addWidget(self.more)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.result)
        layout.addStretch()
        area = scroll_within(self, content)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
