"""A panel that is given: gene names as the user types them, compared with what was measured."""

import html
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from napari_nh2st.analysis import match_genes, parse_genes
from napari_nh2st.widgets.labels import MarkupLabel
from napari_nh2st.widgets.notifications import show_error

_HEIGHT = 72
_MS_BEFORE_CHECK = 250
"""After the last key: nobody wants to be told that half a name is unknown."""

_MOST_NAMED = 8
_MOST_COMPARED = 5000
"""Genes that a name is compared with in the main thread, some 15 ms."""

_LINK = "color: #3b8fc4"
_WITHIN = r"[^\s,;'\"`]"
"""What does not stand between names; see :func:`~napari_nh2st.analysis.parse_genes`."""


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
        self._sections: dict[str, frozenset[str]] = {}
        self._shared: frozenset[str] = frozenset()
        self._spelled: dict[str, str] = {}
        self.text = QPlainTextEdit()
        self.text.setObjectName("nh2st-genes")
        # Without it, the text has no edge that can be seen in napari's light theme.
        self.text.setStyleSheet("#nh2st-genes { border: 1px solid #8a8a8a; border-radius: 3px; }")
        self.text.setPlaceholderText("paste gene names, separated by commas, blanks or lines")
        self.text.setToolTip("Genes to learn, in this order")
        self.text.setTabChangesFocus(True)
        self.text.setFixedHeight(_HEIGHT)
        self.note = MarkupLabel()
        self.note.setWordWrap(True)
        self.note.setToolTip("Which of these genes the sections have; click on a name to take it")
        self.leave_out = QPushButton("Leave them out")
        self.leave_out.setToolTip("Take the names out that are not in every section")
        self.from_file = QPushButton("From file…")
        self.from_file.setToolTip("Read the genes from a text file")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.text, self.note, self.leave_out, self.from_file):
            layout.addWidget(part)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MS_BEFORE_CHECK)
        self._timer.timeout.connect(self.show_match)
        self.text.textChanged.connect(self._on_text)
        self.note.linkActivated.connect(self._on_link)
        self.leave_out.clicked.connect(self.take_out_unknown)
        self.from_file.clicked.connect(self._on_file)
        self.show_match()

    # --- what was given ---

    def value(self) -> tuple[str, ...]:
        """The genes, each once, spelled as the sections spell them where they have them."""
        listed = parse_genes(self.text.toPlainText())
        return tuple(dict.fromkeys(self._as_measured(name) for name in listed))

    def show_value(self, genes: Sequence[str]) -> None:
        """Show genes."""
        self.text.setPlainText(", ".join(genes))

    def unknown(self) -> tuple[str, ...]:
        """Names that are not in every section; none while no section is read."""
        if not self._sections:
            return ()
        return tuple(name for name in self.value() if name not in self._shared)

    def set_sections(self, sections: Mapping[str, Collection[str]]) -> None:
        """Compare with what was measured.

        Parameters
        ----------
        sections
            Genes of each section that trains or validates, by its name.
        """
        measured = {name: frozenset(genes) for name, genes in sections.items()}
        if measured == self._sections:
            return
        self._sections = measured
        self._shared = frozenset.intersection(*measured.values()) if measured else frozenset()
        self._spelled = {gene.casefold(): gene for gene in sorted(self._shared)}
        self.show_match()

    # --- what is known of it ---

    def problem(self) -> str | None:
        """What to say of names that the sections do not have; None where there is none."""
        unknown = self.unknown()
        if not unknown:
            return None
        named = [self._in_words(name) for name in unknown[:_MOST_NAMED]]
        more = f" and {len(unknown) - len(named)} more" if len(unknown) > len(named) else ""
        return (
            f"Not every section has these genes of the panel: {', '.join(named)}{more}. Correct "
            f"them, or press “{self.leave_out.text()}”."
        )

    def show_match(self) -> None:
        """Say below the text which genes there are."""
        listed, unknown = self.value(), self.unknown()
        self.leave_out.setVisible(bool(unknown))
        self.note.setVisible(bool(self._sections and listed))
        n = len(self._sections)
        where = next(iter(self._sections), "") if n == 1 else f"all {n} sections"
        lines = [f"{len(listed) - len(unknown)} of {len(listed)} genes are in {html.escape(where)}"]
        lines += [self._with_links(name) for name in unknown[:_MOST_NAMED]]
        if len(unknown) > _MOST_NAMED:
            lines.append(f"and {len(unknown) - _MOST_NAMED} more that are not")
        self.note.setText("<br>".join(lines))
        self._fit_note()

    def take_out_unknown(self) -> None:
        """Leave the names out that the sections do not have."""
        unknown = set(self.unknown())
        self.show_value([name for name in self.value() if name not in unknown])
        self.show_match()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Give the note the height that its lines need at this width."""
        super().resizeEvent(event)
        self._fit_note()

    def _fit_note(self) -> None:
        # Qt asks forms for the height at a width that their rows do not have yet.
        height = self.note.heightForWidth(max(self.width(), 160))
        self.note.setMinimumHeight(max(height, 0))

    def _as_measured(self, name: str) -> str:
        return name if name in self._shared else self._spelled.get(name.casefold(), name)

    def _lacking(self, name: str) -> str:
        """Sections without a gene that others have; empty where none has it."""
        without = [section for section, genes in self._sections.items() if name not in genes]
        some = len(without) < len(self._sections)
        return ", ".join(without) if some else ""

    def _nearest(self, name: str) -> tuple[str, ...]:
        """Genes spelled most alike, among those that begin or end like it."""
        folded = name.casefold()
        alike = [
            gene
            for key, gene in self._spelled.items()
            if key[:1] == folded[:1] or key[-2:] == folded[-2:]
        ]
        if len(alike) > _MOST_COMPARED:  # such as Ensembl ids, whose nearest say nothing
            return ()
        return match_genes([name], alike).unknown.get(name, ())

    def _in_words(self, name: str) -> str:
        if lacking := self._lacking(name):
            return f"{name} (not in {lacking})"
        near = self._nearest(name)
        return f"{name} (nearest {', '.join(near)})" if near else name

    def _with_links(self, name: str) -> str:
        text = f"<b>{html.escape(name)}</b>: "
        if lacking := self._lacking(name):
            return f"{text}not in {html.escape(lacking)}"
        links = [
            f'<a style="{_LINK}" href="{html.escape(f"{name} {gene}")}">{html.escape(gene)}</a>'
            for gene in self._nearest(name)
        ]
        return text + (f"not known; nearest {', '.join(links)}" if links else "not known")

    # --- what the controls do ---

    def _on_text(self) -> None:
        self._timer.start()
        self.changed.emit()

    def _on_link(self, link: str) -> None:
        """Put the name that was clicked in the place of the one that was typed."""
        typed, gene = link.split(" ")
        whole = rf"(?<!{_WITHIN}){re.escape(typed)}(?!{_WITHIN})"
        self.text.setPlainText(re.sub(whole, gene, self.text.toPlainText()))
        self.show_match()

    def _on_file(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Genes, one a line")
        if file:
            try:
                self.text.setPlainText(Path(file).read_text(encoding="utf-8-sig"))
            except (OSError, UnicodeDecodeError):
                show_error(f"{file} is not a text file of gene names.")
