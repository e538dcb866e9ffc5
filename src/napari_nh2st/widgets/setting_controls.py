"""Controls of single settings, made from their options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from psygnal import Signal, SignalInstance
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.options import Setting

_MOST = 2**31 - 1
"""What fits into the boxes of all platforms."""


class Control(Protocol):
    """Shows and gives the value of one setting."""

    changed: SignalInstance

    def value(self) -> Any:
        """The chosen value; raises InputError for a text that is none."""

    def show_value(self, value: Any) -> None:
        """Show a value."""


class NumberLine(QLineEdit):
    """A number to be typed; empty for the default, which is shown in grey.

    A line, and no box with arrows: learning rates span decades, and turning the wheel over a
    scrolled dock must not change them.

    Parameters
    ----------
    setting
        A number.
    """

    changed = Signal()

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._setting = setting
        option, default = setting.option, setting.default
        if default is None:
            self.setPlaceholderText(option.special or option.default)
        else:
            self.setPlaceholderText(f"{default:g}")
        self.textChanged.connect(lambda _text: self.changed.emit())

    def value(self) -> Any:
        """The number."""
        text = self.text().strip().replace(",", ".")
        if not text:
            return self._setting.default
        kind = self._setting.kind
        try:
            number = float(text)
            if kind is int and number != int(number):
                raise ValueError
            return kind(number)
        except (ValueError, OverflowError):
            what = "a whole number" if kind is int else "a number"
            label = self._setting.option.label
            raise InputError(f"{label} is {text!r}: give {what}.") from None

    def show_value(self, value: Any) -> None:
        """Show a number."""
        self.setText("" if value is None or value == self._setting.default else str(value))


class NumberBox(QDoubleSpinBox):
    """A number with arrows; where None is allowed, below its least value.

    Parameters
    ----------
    setting
        A number whose option has a step.
    """

    changed = Signal()

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        option = setting.option
        self._kind, self._optional = setting.kind, setting.optional
        least, most = option.range
        self.setRange(least - option.step * self._optional, min(most, _MOST))
        self.setDecimals(0 if self._kind is int else 1 if option.step >= 1 else 2)
        self.setSingleStep(option.step)
        self.setSuffix(f" {option.unit}" if option.unit else "")
        self.setSpecialValueText(option.special or (option.default if self._optional else ""))
        self.show_value(setting.default)
        self.valueChanged.connect(lambda _value: self.changed.emit())

    def value(self) -> Any:
        """The number, or None."""
        number = super().value()
        if self._optional and number == self.minimum():
            return None
        return int(number) if self._kind is int else round(number, self.decimals())

    def show_value(self, value: Any) -> None:
        """Show a number, or None."""
        self.setValue(self.minimum() if value is None else value)


class ChoiceBox(QComboBox):
    """One of some values.

    Parameters
    ----------
    choices
        Value → what is shown for it; the first is chosen at first.
    """

    changed = Signal()

    def __init__(self, choices: Mapping[Any, str]) -> None:
        super().__init__()
        for value, text in choices.items():
            self.addItem(text, value)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        without_wheel(self)
        self.currentIndexChanged.connect(lambda _index: self.changed.emit())

    def value(self) -> Any:
        """The chosen one."""
        return self.currentData()

    def show_value(self, value: Any) -> None:
        """Choose a value."""
        self.setCurrentIndex(self.findData(value))


class SwitchBox(QCheckBox):
    """Yes or no.

    Parameters
    ----------
    setting
        Whose label stands beside it.
    """

    changed = Signal()

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.option.label.replace("&", "&&"))
        self._negative = bool(setting.option.negative)
        self.show_value(setting.default)
        self.toggled.connect(lambda _checked: self.changed.emit())

    def value(self) -> bool:
        """Whether it is checked; the opposite where its option is the negative."""
        return bool(self.isChecked()) != self._negative

    def show_value(self, value: bool) -> None:
        """Check it, or not."""
        self.setChecked(value != self._negative)


class TextLine(QLineEdit):
    """A text to be typed; empty for None.

    Parameters
    ----------
    setting
        A text that may be left out.
    """

    changed = Signal()

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setPlaceholderText(setting.option.special or setting.option.default)
        self.show_value(setting.default)
        self.textChanged.connect(lambda _text: self.changed.emit())

    def value(self) -> str | None:
        """The text, or None."""
        return self.text().strip() or None

    def show_value(self, value: str | None) -> None:
        """Show a text, or None."""
        self.setText(value or "")


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
        """Set it on the line as well, which Qt asks first."""
        super().setToolTip(text)
        self.line.setToolTip(text)

    def _on_browse(self) -> None:
        if self._folder:
            chosen = QFileDialog.getExistingDirectory(self, self._title)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, self._title)
        if chosen:
            self.line.setText(chosen)


def control_for(setting: Setting) -> Any:
    """The control that a setting asks for, showing its default, with the help as tooltip.

    Parameters
    ----------
    setting
        A number, a choice, yes and no, or a text; or None.
    """
    option = setting.option
    control: Any
    if setting.kind is bool:
        control = SwitchBox(setting)
    elif setting.choices:
        none = {None: option.special or option.default} if setting.optional else {}
        control = ChoiceBox(
            none | {value: option.words.get(value, value) for value in setting.choices}
        )
        control.show_value(setting.default)
    elif setting.kind in (int, float):
        control = NumberBox(setting) if option.step else NumberLine(setting)
    elif setting.kind is str:
        control = TextLine(setting)
    else:
        raise TypeError(f"no control is made for {setting.name}: {setting.kind}")
    control.setToolTip(option.tooltip)
    return control


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
