"""Form of settings: a row for each field of a settings dataclass."""

from collections.abc import Collection, Mapping
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QFormLayout, QPushButton, QWidget

from napari_nh2st.options import Setting, settings_of
from napari_nh2st.widgets.labels import MarkupLabel
from napari_nh2st.widgets.setting_controls import Control, control_for


class SettingsForm(QWidget):
    """Rows of controls for the fields of settings dataclasses.

    Attributes
    ----------
    controls
        The controls, by name of the field.
    form
        The rows; others may be added.
    changed
        Emitted when a control shows another value.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controls: dict[str, Any] = {}
        self.form = QFormLayout(self)
        self.form.setContentsMargins(0, 0, 0, 0)
        self.form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)  # in a narrow dock
        self._heading = ""
        self._tips: dict[str, str] = {}
        self._withheld: set[str] = set()
        self._hidden: frozenset[str] = frozenset()
        self._sections: list[tuple[QWidget, list[str]]] = []

    def add_rows(
        self,
        kind: Any,
        names: Collection[str],
        own: Mapping[str, Any] | None = None,
        *,
        headings: bool = False,
    ) -> None:
        """Add a row for each of some fields, in the order of the dataclass.

        Parameters
        ----------
        kind
            The dataclass; of a field that is one itself, its fields are looked for.
        names
            Fields that get a row.
        own
            Controls that are made elsewhere, by name of the field.
        headings
            Whether groups of options have their headings.
        """
        for name, setting in settings_of(kind).items():
            self._heading = setting.option.heading or self._heading
            if setting.is_group:
                self.add_rows(setting.kind, names, own, headings=headings)
            elif name in names:
                if headings and self._heading:
                    heading = MarkupLabel(f"<b>{self._heading}</b>")
                    self.form.addRow(heading)
                    self._sections.append((heading, []))
                self._heading = ""
                if self._sections:
                    self._sections[-1][1].append(name)
                control = self.add_control(setting, (own or {}).get(name))
                self.form.addRow(_row_label(setting), control)

    def add_control(self, setting: Setting, control: Control | None = None) -> Any:
        """Add the control of a field without a row.

        Parameters
        ----------
        setting
            The field.
        control
            One that is made elsewhere; made from the option if left out.
        """
        control = control or control_for(setting)
        self.controls[setting.name] = control
        control.changed.connect(self._on_changed)
        return control

    def offer(self, name: str, why_not: str = "") -> None:
        """Let a setting be chosen, or show why it cannot be: its default counts then.

        Parameters
        ----------
        name
            Field with a control.
        why_not
            A sentence for the tooltip; empty where the setting can be chosen.
        """
        control = self.controls[name]
        tip = self._tips.setdefault(name, control.toolTip())
        control.setEnabled(not why_not)
        control.setToolTip(why_not or tip)
        (self._withheld.add if why_not else self._withheld.discard)(name)

    def hide_unused(self, names: Collection[str]) -> None:
        """Hide the rows of settings that are not used, and show all others.

        The defaults of what is hidden count; its control keeps what was chosen for when it is used
        again.

        Parameters
        ----------
        names
            Fields; those without a row may be among them.
        """
        self._hidden = frozenset(names) & self.controls.keys()
        for name, control in self.controls.items():
            if self.form.indexOf(control) >= 0:
                self.form.setRowVisible(control, name not in self._hidden)
        for heading, below in self._sections:
            self.form.setRowVisible(heading, not self._hidden.issuperset(below))

    def add_reset(self) -> QPushButton:
        """Add the button to bring the defaults back; the dock, which remembers, connects it."""
        button = QPushButton("Reset settings")
        button.setToolTip("Reset all settings of this dock to the defaults")
        self.form.addRow(button)
        return button

    def values(self, kind: Any) -> dict[str, Any]:
        """What the controls stand for, of the fields of a dataclass, by name.

        Raises
        ------
        InputError
            Something typed is not a number, or out of its range.
        """
        found: dict[str, Any] = {}
        for name, setting in settings_of(kind).items():
            if setting.is_group:
                if inner := self.values(setting.kind):
                    found[name] = setting.kind(**inner)
            elif name in self.controls and name not in self._withheld | self._hidden:
                found[name] = self.controls[name].value()
        return found

    def show_values(self, settings: Any) -> None:
        """Show the fields of settings that have a control."""
        kind: Any = type(settings)
        for name, setting in settings_of(kind).items():
            value = getattr(settings, name)
            if setting.is_group:
                if value is not None:
                    self.show_values(value)
            elif name in self.controls:
                self.controls[name].show_value(value)

    def _on_changed(self, *_value: Any) -> None:
        self.changed.emit()


def _row_label(setting: Setting) -> str:
    """The label in front of a control: a switch has its own, and a box shows its unit itself."""
    option = setting.option
    if setting.kind is bool:
        return ""
    return f"{option.label}, {option.unit}" if option.unit and not option.step else option.label
