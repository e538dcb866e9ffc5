"""Field for the genes to predict, with completion from the model's panel."""

import html
from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import QModelIndex, QStringListModel, Qt
from qtpy.QtWidgets import QCompleter, QLineEdit, QVBoxLayout, QWidget

from napari_nh2st.errors import InputError
from napari_nh2st.names import nearest_names, parse_genes
from napari_nh2st.widgets.labels import MarkupLabel


class GeneField(QWidget):
    """A line of gene names separated by commas, and below it what is wrong with them.

    Attributes
    ----------
    line
        The names; empty for the whole panel.
    note
        Names the panel does not have, each with the nearest that it has: a click takes that.
    changed
        Emitted when the names are others.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._panel: tuple[str, ...] = ()
        self.line = QLineEdit()
        self.line.setPlaceholderText("all of the panel")
        self.line.setToolTip("Genes to predict, separated by commas; empty for the whole panel")
        self.completer = _LastNameCompleter(self.line)
        self.line.setCompleter(self.completer)
        self.note = MarkupLabel(wrap=True, tip="Click a name to use it")
        self.note.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(self.note)
        self.line.textChanged.connect(self._on_text)
        self.line.editingFinished.connect(self._check_all)
        self.note.linkActivated.connect(self._take_nearest)

    @property
    def names(self) -> tuple[str, ...]:
        """The genes as typed, in that order."""
        return parse_genes(self.line.text())

    def value(self) -> tuple[str, ...] | None:
        """The genes as typed; None for the whole panel.

        Raises
        ------
        InputError
            The panel does not have one of them.
        """
        unknown = self._unknown(self.names)
        if unknown:
            nearest = [self._nearest(name) for name in unknown]
            sentences = map(_in_words, unknown, nearest)
            raise InputError(f"{'; '.join(sentences)}. Correct the list of genes, or empty it.")
        return self.names or None

    def show_value(self, genes: Sequence[str] | None) -> None:
        """Show genes; None for the whole panel."""
        self.line.setText(", ".join(genes or ()))

    def set_panel(self, panel: Sequence[str]) -> None:
        """Offer a model's genes; where they are not known, with an empty panel, none is wrong."""
        self._panel = tuple(panel)
        self.completer.setModel(QStringListModel(self._panel, self.completer))
        self._check_all()

    def _on_text(self, _text: str) -> None:
        self._check()
        self.changed.emit()

    def _check(self) -> None:
        names = self.names
        typing = self.line.isModified() and not self.line.text().rstrip().endswith(",")
        if typing and names and self._may_become_known(names[-1]):
            names = names[:-1]
        self._note_unknown(names)

    def _may_become_known(self, part: str) -> bool:
        return any(part.casefold() in gene.casefold() for gene in self._panel)

    def _check_all(self) -> None:
        self._note_unknown(self.names)

    def _note_unknown(self, names: Sequence[str]) -> None:
        links = {name: self._link(name) for name in self._unknown(names)}
        sentences = (_in_words(html.escape(name), link) for name, link in links.items())
        self.note.show_text("<br>".join(sentences))

    def _unknown(self, names: Sequence[str]) -> list[str]:
        known = set(self._panel or names)
        return [name for name in names if name not in known]

    def _nearest(self, name: str) -> str | None:
        return next(iter(nearest_names(name, self._panel, n=1)), None)

    def _link(self, name: str) -> str | None:
        nearest = self._nearest(name)
        if nearest is None:
            return None
        return f'<a href="{html.escape(name)}">{html.escape(nearest)}</a>'

    def _take_nearest(self, unknown: str) -> None:
        """Put the nearest name in the place of one that the panel does not have."""
        nearest = self._nearest(unknown)
        names = [(nearest or name) if name == unknown else name for name in self.names]
        self.line.setText(", ".join(dict.fromkeys(names)))


def _in_words(name: str, nearest: str | None) -> str:
    hint = f" (did you mean {nearest}?)" if nearest else ""
    return f"{name} is not in the model's panel{hint}"


class _LastNameCompleter(QCompleter):
    """Completes what follows the last comma of a line, with any name that contains it."""

    def __init__(self, line: QLineEdit) -> None:
        super().__init__(line)
        self._line = line
        self.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setFilterMode(Qt.MatchFlag.MatchContains)

    def splitPath(self, path: str | None) -> list[str]:  # Qt's name
        """The part to complete."""
        return [(path or "").rpartition(",")[2].strip()]

    def pathFromIndex(self, index: QModelIndex) -> str:  # Qt's name
        """The line with its last name completed."""
        before, comma, _ = self._line.text().rpartition(",")
        return f"{before}{comma}{' ' if comma else ''}{super().pathFromIndex(index)}"
