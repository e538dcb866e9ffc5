"""The genes to predict: typed with completion from the model's panel."""

import difflib
from collections.abc import Sequence

from qtpy.QtCore import QModelIndex, QStringListModel, Qt
from qtpy.QtWidgets import QCompleter, QLabel, QLineEdit, QVBoxLayout, QWidget


class GeneField(QWidget):
    """A line of gene names separated by commas, and below it what is wrong with them.

    Attributes
    ----------
    line
        The names; empty for the whole panel.
    note
        Names the panel does not have, each with the nearest that it has.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._panel: tuple[str, ...] = ()
        self.line = QLineEdit()
        self.line.setPlaceholderText("all of the panel")
        self.line.setToolTip("Genes to predict, separated by commas; empty for the whole panel")
        self.completer = _LastNameCompleter(self.line)
        self.line.setCompleter(self.completer)
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(self.note)
        self.line.textChanged.connect(self._check)
        self.line.editingFinished.connect(self._check_all)

    @property
    def names(self) -> tuple[str, ...]:
        """The genes as typed, in that order."""
        return tuple(name.strip() for name in self.line.text().split(",") if name.strip())

    def set_panel(self, panel: Sequence[str]) -> None:
        """Offer a model's genes; where they are not known, with an empty panel, none is wrong."""
        self._panel = tuple(panel)
        self.completer.setModel(QStringListModel(self._panel, self.completer))
        self._check_all()

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
        unknown = [name for name in names if name not in self._panel] if self._panel else []
        self.note.setText("\n".join(self._with_nearest(name) for name in unknown))
        self.note.setVisible(bool(unknown))

    def _with_nearest(self, name: str) -> str:
        folded = {gene.casefold(): gene for gene in self._panel}
        near = difflib.get_close_matches(name.casefold(), folded, n=1)
        hint = f" (did you mean {folded[near[0]]}?)" if near else ""
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
