"""Field for the genes of a panel, which are compared with those measured as they are typed."""

import html
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget
from superqt.utils import qdebounced

from napari_nh2st.analysis import parse_genes
from napari_nh2st.session.section_genes import MOST_NAMED, SectionGenes
from napari_nh2st.widgets.labels import MarkupLabel
from napari_nh2st.widgets.notifications import show_error

_HEIGHT = 72
_MS_BEFORE_CHECK = 250
"""After the last key: half a name is not to be called unknown."""

_WITHIN = r"[^\s,;'\"`]"
"""Pattern of a character within a name; see :func:`~napari_nh2st.analysis.parse_genes`."""


class GivenGenes(QWidget):
    """A text of gene names, and below it which of them the sections do not have.

    Attributes
    ----------
    text, from_file
        Where names are typed or pasted, and what reads them from a file.
    note
        How many were measured, and for each of the others the nearest names; a click on one of
        these puts it in the place of what was typed.
    leave_out
        Takes the names out of the text that the sections do not have; hidden while there is none.
    changed
        Emitted when the genes are others, or what is known of them.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._measured = SectionGenes()
        self.text = QPlainTextEdit()
        self.text.setObjectName("nh2st-genes")
        # Without it, the text has no edge that can be seen in napari's light theme.
        self.text.setStyleSheet("#nh2st-genes { border: 1px solid #8a8a8a; border-radius: 3px; }")
        self.text.setPlaceholderText("paste gene names, separated by commas, spaces or lines")
        self.text.setToolTip("Genes to learn, in this order")
        self.text.setTabChangesFocus(True)
        self.text.setFixedHeight(_HEIGHT)
        self.note = MarkupLabel(
            wrap=True,
            tip="Which of these genes the sections have; click a name to use it",
            fits=True,
        )
        self.leave_out = QPushButton("Leave them out")
        self.leave_out.setToolTip("Remove the names that are not in every section")
        self.from_file = QPushButton("From file…")
        self.from_file.setToolTip("Read the genes from a text file")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.text, self.note, self.leave_out, self.from_file):
            layout.addWidget(part)
        self._show_match_soon = qdebounced(self.show_match, _MS_BEFORE_CHECK, parent=self)
        self.text.textChanged.connect(self._on_text)
        self.note.linkActivated.connect(self._on_link)
        self.leave_out.clicked.connect(self.take_out_unknown)
        self.from_file.clicked.connect(self._on_file)
        self.show_match()

    # --- what was given ---

    def value(self) -> tuple[str, ...]:
        """The genes, each once, spelled as the sections spell them where they have them."""
        return self._measured.as_measured(parse_genes(self.text.toPlainText()))

    def show_value(self, genes: Sequence[str]) -> None:
        """Show genes."""
        self.text.setPlainText(", ".join(genes))

    def unknown(self) -> tuple[str, ...]:
        """Names that are not in every section; none while no section is read."""
        return self._measured.unknown(self.value())

    def set_sections(self, sections: Mapping[str, Collection[str]]) -> None:
        """Compare with what was measured.

        Parameters
        ----------
        sections
            Genes of each section that trains or validates, by its name.
        """
        measured = SectionGenes.of(sections)
        if measured != self._measured:
            self._measured = measured
            self.show_match()

    # --- what is known of it ---

    def problem(self) -> str | None:
        """Sentence on names that the sections do not have; None where there is none."""
        problem = self._measured.problem(self.value())
        return problem and f"{problem} Correct them, or press “{self.leave_out.text()}”."

    def show_match(self) -> None:
        """Say below the text which genes there are."""
        listed, unknown = self.value(), self.unknown()
        self.leave_out.setVisible(bool(unknown))
        sections = self._measured.sections
        self.note.setVisible(bool(sections and listed))
        where = next(iter(sections)) if len(sections) == 1 else f"all {len(sections)} sections"
        lines = [f"{len(listed) - len(unknown)} of {len(listed)} genes are in {html.escape(where)}"]
        lines += [self._with_links(name) for name in unknown[:MOST_NAMED]]
        if len(unknown) > MOST_NAMED:
            lines.append(f"and {len(unknown) - MOST_NAMED} more that are not")
        self.note.setText("<br>".join(lines))

    def take_out_unknown(self) -> None:
        """Leave the names out that the sections do not have."""
        unknown = set(self.unknown())
        self.show_value([name for name in self.value() if name not in unknown])
        self.show_match()

    def _with_links(self, name: str) -> str:
        text = f"<b>{html.escape(name)}</b>: "
        if without := self._measured.sections_without(name):
            return f"{text}not in {html.escape(', '.join(without))}"
        links = [
            f'<a href="{html.escape(f"{name} {gene}")}">{html.escape(gene)}</a>'
            for gene in self._measured.nearest(name)
        ]
        return text + (f"not known; nearest {', '.join(links)}" if links else "not known")

    # --- what the controls do ---

    def _on_text(self) -> None:
        self._show_match_soon()
        self.changed.emit()

    def _on_link(self, link: str) -> None:
        """Put the name that was clicked in the place of the one that was typed."""
        typed, gene = link.split(" ")
        whole = rf"(?<!{_WITHIN}){re.escape(typed)}(?!{_WITHIN})"
        self.text.setPlainText(re.sub(whole, gene, self.text.toPlainText()))
        self.show_match()

    def _on_file(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Genes, one per line")
        if file:
            try:
                self.text.setPlainText(Path(file).read_text(encoding="utf-8-sig"))
            except (OSError, UnicodeDecodeError):
                show_error(f"{file} is not a text file of gene names.")
