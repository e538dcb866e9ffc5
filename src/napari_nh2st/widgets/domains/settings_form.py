"""What to look for when domains are found."""

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QSpinBox,
    QWidget,
)

from napari_nh2st.analysis.domains import DomainSettings

_METHODS = {"k-means": "kmeans", "Leiden": "leiden"}


class DomainSettingsForm(QWidget):
    """The controls that become :class:`~napari_nh2st.analysis.domains.DomainSettings`.

    Parameters
    ----------
    parent
        Of the widget.

    Attributes
    ----------
    method, n_domains, only_reliable, least_reliability, smoothness, seed
        One for each setting.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        defaults = DomainSettings()
        self.method = QComboBox()
        for words, method in _METHODS.items():
            self.method.addItem(words, method)
        self.method.setToolTip(
            "k-means is quick; Leiden finds communities of alike tiles, of any shape"
        )
        self.n_domains = QSpinBox()
        self.n_domains.setRange(2, 30)
        self.n_domains.setValue(defaults.n_domains)
        self.n_domains.setToolTip("How many domains to find")
        self.only_reliable = QCheckBox("reliable from")
        self.only_reliable.setChecked(True)
        self.only_reliable.setToolTip("Leave out genes that the model predicts badly")
        self.least_reliability = QDoubleSpinBox()
        self.least_reliability.setRange(-1, 1)
        self.least_reliability.setSingleStep(0.05)
        self.least_reliability.setValue(defaults.min_reliability or 0.0)
        self.least_reliability.setToolTip(
            "Least correlation on held-out sections; that of the Genes tab until it is changed here"
        )
        self._threshold = self.least_reliability.value()
        self.only_reliable.toggled.connect(self.least_reliability.setEnabled)
        self.smoothness = QDoubleSpinBox()
        self.smoothness.setRange(0, 1)
        self.smoothness.setSingleStep(0.1)
        self.smoothness.setValue(defaults.spatial_weight)
        self.smoothness.setToolTip("0: each tile by itself; 1: by its neighbors alone")
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.seed.setValue(defaults.seed)
        self.seed.setToolTip("Another seed is another random start")
        self._lay_out()

    def chosen(self) -> DomainSettings:
        """The settings, as the controls say."""
        return DomainSettings(
            method=self.method.currentData(),
            n_domains=self.n_domains.value(),
            spatial_weight=round(self.smoothness.value(), 2),
            min_reliability=(
                round(self.least_reliability.value(), 2) if self.only_reliable.isChecked() else None
            ),
            seed=self.seed.value(),
        )

    def follow_threshold(self, threshold: float) -> None:
        """Take over the reliability that counts elsewhere, unless another was chosen here."""
        if self.least_reliability.value() == self._threshold:
            self.least_reliability.setValue(threshold)
            self._threshold = self.least_reliability.value()

    def _lay_out(self) -> None:
        genes = QHBoxLayout()
        genes.addWidget(self.only_reliable)
        genes.addWidget(self.least_reliability, 1)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Method", self.method)
        form.addRow("Domains", self.n_domains)
        form.addRow("Only genes", genes)
        form.addRow("Smoothness", self.smoothness)
        form.addRow("Seed", self.seed)
