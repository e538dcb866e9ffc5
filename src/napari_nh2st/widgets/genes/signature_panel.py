"""Signature: its genes, pasted or from a GMT file, and its layer."""

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QWidget,
)

from napari_nh2st.analysis import GeneMatch, match_genes, parse_genes, read_gmt
from napari_nh2st.analysis.signatures import Signature, found_text
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.prediction.schema import reliability
from napari_nh2st.session import Session
from napari_nh2st.widgets.labels import MarkupLabel, PlainLabel
from napari_nh2st.widgets.notifications import show_error, show_warning

_LINES_SHOWN = 3
_MOST_NAMED = 8


class SignaturePanel(QWidget):
    """Asks for a signature and shows it.

    Parameters
    ----------
    session
        Knows the prediction and shows the layer.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._badges = Badges()
        self._sets: dict[str, tuple[str, ...]] = {}
        self.genes = QPlainTextEdit()
        self.genes.setPlaceholderText("Genes: paste names, separated by anything")
        self.genes.setToolTip("Genes of the signature, separated by commas, spaces or new lines")
        self.genes.setFixedHeight(_LINES_SHOWN * self.fontMetrics().lineSpacing() + 12)
        self.genes.setTabChangesFocus(True)
        self.name = QLineEdit("signature")
        self.name.setToolTip("Name of the signature, for its layer")
        self.gmt = QPushButton("GMT…")
        self.gmt.setToolTip("Open a file of gene sets, such as those of MSigDB")
        self.sets = QComboBox()
        self.sets.setToolTip("Gene set of the file")
        self.sets.hide()
        self.note = PlainLabel(wrap=True, tip="Which of the genes the prediction has")
        self.note.hide()
        self.badges = MarkupLabel(
            wrap=True, tip="PCC of the genes that are found, the least reliable first"
        )
        self.badges.hide()
        self.show_layer = QPushButton("Show signature")
        self.show_layer.setToolTip("Add a layer with the mean z-score of the genes that are found")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.genes, 0, 0, 1, 3)
        layout.addWidget(self.sets, 1, 0, 1, 3)
        layout.addWidget(self.note, 2, 0, 1, 3)
        layout.addWidget(self.badges, 3, 0, 1, 3)
        layout.addWidget(self.name, 4, 0)
        layout.addWidget(self.gmt, 4, 1)
        layout.addWidget(self.show_layer, 4, 2)
        layout.setColumnStretch(0, 1)
        self.genes.textChanged.connect(self.check)
        self.gmt.clicked.connect(self._ask)
        self.sets.textActivated.connect(self.take_set)
        self.show_layer.clicked.connect(self.show_signature)

    def open_gmt(self, path: Path) -> None:
        """Offer the sets of a GMT file, and take the first."""
        try:
            self._sets = read_gmt(path)
        except InputError as error:
            show_error(str(error))
            return
        self.sets.clear()
        self.sets.addItems(list(self._sets))
        self.sets.show()
        self.take_set(self.sets.currentText())

    def take_set(self, name: str) -> None:
        """Take the genes and the name of a set of the file."""
        self.genes.setPlainText(", ".join(self._sets[name]))
        self.name.setText(name)

    def check(self) -> None:
        """Say how many of the genes the prediction has."""
        listed, match = self._match()
        self.note.setVisible(match is not None and bool(listed))
        if match is not None:
            self.note.setText(found_text(len(listed), match))
        self.badges.setVisible(match is not None and bool(match.found))
        if match is not None:
            self.badges.setText(self._badges_text(match.found))

    def set_badges(self, badges: Badges) -> None:
        """Give the genes these badges."""
        self._badges = badges
        self.check()

    def show_signature(self) -> None:
        """Show what was typed as a layer."""
        listed, match = self._match()
        heatmap = self._session.heatmap
        if heatmap is None or match is None:
            show_warning("There is no prediction to score: predict or open one first.")
        elif not listed:
            show_warning("Give the signature's genes: paste names or open a GMT file.")
        elif not match.found:
            show_warning(f"The prediction has none of these {len(listed)} genes.")
        else:
            name = self.name.text().strip() or "signature"
            self._session.show_signature(Signature(name, match.found, len(listed)))

    def _match(self) -> tuple[tuple[str, ...], GeneMatch | None]:
        listed = parse_genes(self.genes.toPlainText())
        heatmap = self._session.heatmap
        if heatmap is None:
            return listed, None
        return listed, match_genes(listed, list(heatmap.prediction.var_names))

    def _badges_text(self, found: Sequence[str]) -> str:
        heatmap = self._session.heatmap
        assert heatmap is not None
        known = reliability(heatmap.prediction)[list(found)]
        order = known.sort_values(kind="stable", na_position="first")
        least = [(str(gene), float(pcc)) for gene, pcc in order.iloc[:_MOST_NAMED].items()]
        more = len(order) - len(least)
        text = self._badges.listed(least)
        return text + (f" and {more} others" if more else "")

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open gene sets", "", "Gene sets (*.gmt);;All files (*)"
        )
        if path:
            self.open_gmt(Path(path))
