"""Controls for the fields of a settings dataclass, made from their types and defaults."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_nh2st.errors import InputError


class Control(Protocol):
    """Shows and gives the value of one field."""

    def value(self) -> Any:
        """What is chosen; raises InputError for what is no such value."""

    def show_value(self, value: Any) -> None:
        """Show a value."""


class NumberLine(QLineEdit):
    """A number; empty for the default, which is shown in grey.

    A line, and no box with arrows: learning rates span decades, and turning the wheel over a
    scrolled dock must not change them.

    Parameters
    ----------
    name
        What messages call it.
    kind
        int or float.
    default
        Its value when nothing is typed.
    shown
        What is shown instead of a default of None.
    """

    def __init__(self, name: str, kind: type, default: float | None, shown: str = "") -> None:
        super().__init__()
        self._name = name
        self._kind = kind
        self._default = default
        self.setPlaceholderText(shown if default is None else f"{default:g}")

    def value(self) -> Any:
        """The number."""
        text = self.text().strip().replace(",", ".")
        if not text:
            return self._default
        try:
            number = float(text)
            if self._kind is int and number != int(number):
                raise ValueError
            return self._kind(number)
        except (ValueError, OverflowError):
            what = "a whole number" if self._kind is int else "a number"
            raise InputError(f"{self._name} is {text!r}: give {what}.") from None

    def show_value(self, value: Any) -> None:
        """Show a number."""
        self.setText("" if value is None or value == self._default else str(value))


class ChoiceBox(QComboBox):
    """One of some values.

    Parameters
    ----------
    choices
        Value → what is shown for it; the first is chosen at first.
    """

    def __init__(self, choices: Mapping[Any, str]) -> None:
        super().__init__()
        for value, text in choices.items():
            self.addItem(text, value)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        without_wheel(self)

    def value(self) -> Any:
        """The chosen one."""
        return self.currentData()

    def show_value(self, value: Any) -> None:
        """Choose a value."""
        self.setCurrentIndex(self.findData(value))

    def choose_known(self, value: Any) -> None:
        """Choose a value if there is such a one: what was kept may be another version's."""
        if self.findData(value) >= 0:
            self.show_value(value)


class SwitchBox(QCheckBox):
    """Yes or no."""

    def value(self) -> bool:
        """Whether it is checked."""
        return bool(self.isChecked())

    def show_value(self, value: bool) -> None:
        """Check it, or not."""
        self.setChecked(value)


class FileLine(QWidget):
    """A file, typed or chosen; empty for none.

    Attributes
    ----------
    line, browse
        Where it is typed, and the button to choose it.
    changed
        Emitted with what is typed.
    """

    changed = Signal(str)

    def __init__(self, title: str, shown: str = "none", *, folder: bool = False) -> None:
        super().__init__()
        self._title = title
        self._folder = folder
        self.line = QLineEdit()
        self.line.setPlaceholderText(shown)
        self.browse = QPushButton("…")
        self.browse.setToolTip(f"Choose: {title}")
        self.browse.setMaximumWidth(32)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.browse)
        self.browse.clicked.connect(self._on_browse)
        self.line.textChanged.connect(self.changed)

    def value(self) -> str | None:
        """The path, whole; None where there is none."""
        text = self.line.text().strip()
        return str(Path(text).expanduser().absolute()) if text else None

    def show_value(self, value: str | None) -> None:
        """Show a path."""
        self.line.setText(value or "")

    def setToolTip(self, text: str | None) -> None:  # Qt's name
        """Say it over the line as well, which Qt asks first."""
        super().setToolTip(text)
        self.line.setToolTip(text)

    def _on_browse(self) -> None:
        if self._folder:
            chosen = QFileDialog.getExistingDirectory(self, self._title)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, self._title)
        if chosen:
            self.line.setText(chosen)


def control_for(settings: type, name: str, default_shown: str = "default") -> Any:
    """The control that the type of a field asks for, showing its default.

    Parameters
    ----------
    settings
        A dataclass.
    name
        Of its field: a number, a choice of words, or yes and no; or None.
    default_shown
        Words for a default of None.
    """
    field = next(field for field in fields(settings) if field.name == name)
    default = None if field.default is MISSING else field.default
    hint = get_type_hints(settings)[name]
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    kind = kinds[0] if type(None) in get_args(hint) else hint
    if kind is bool:
        box = SwitchBox()
        box.show_value(bool(default))
        return box
    if get_origin(kind) is Literal:
        words = {value: value for value in get_args(kind)}
        choice = ChoiceBox(({None: default_shown} if default is None else {}) | words)
        choice.show_value(default)
        return choice
    if kind in (int, float):
        return NumberLine(name.replace("_", " "), kind, default, default_shown)
    raise TypeError(f"no control is made for {name}: {hint}")


class _NoWheel(QObject):
    """Keeps the wheel from changing what has not been clicked into."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # Qt's name
        """Ignore the wheel, so that it scrolls what is around."""
        if (
            event is not None
            and event.type() == QEvent.Type.Wheel
            and isinstance(watched, QWidget)
            and not watched.hasFocus()
        ):
            event.ignore()
            return True
        return False


def without_wheel(widget: QWidget) -> None:
    """Let the wheel over a widget scroll the dock and change nothing."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_NoWheel(widget))
