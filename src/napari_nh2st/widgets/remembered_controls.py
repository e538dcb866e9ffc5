"""Controls whose values are remembered from one session of napari to the next."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.session.remembered import (
    SECTIONS,
    Remembered,
    remembered_values,
    restored_values,
)
from napari_nh2st.widgets.setting_controls import Control


class RememberedControls:
    """Controls that begin with what a section has kept, and keep what the user chooses.

    Parameters
    ----------
    remembered
        The section.
    controls
        By name of the field. What a section keeps for a control that is not offered here, stays.
    """

    def __init__(self, remembered: Remembered, controls: Mapping[str, Control]) -> None:
        self._remembered = remembered
        self._controls = controls
        self._is_paused = False
        self._show(remembered.get)
        for setting in SECTIONS[remembered.section]:
            if setting.name in controls:
                controls[setting.name].changed.connect(partial(self._keep, setting.name))

    def reset(self) -> None:
        """Forget what was kept, and show the defaults."""
        self._remembered.reset()
        self._show(lambda _key, default: default)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What the controls show meanwhile was not chosen by the user, and is not kept."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def _show(self, get: Callable[[str, Any], Any]) -> None:
        with self.paused():
            for name, value in restored_values(self._remembered.section, get).items():
                if name in self._controls:
                    self._controls[name].show_value(value)

    def _keep(self, name: str, *_value: object) -> None:
        if not self._is_paused:
            with suppress(InputError):  # it is still being typed
                value = self._controls[name].value()
                self._remembered.set(**remembered_values(self._remembered.section, {name: value}))
