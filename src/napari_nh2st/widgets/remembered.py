"""What widgets remember from one session to the next, in napari's plugin settings."""

from typing import Any

from napari_nh2st.widgets.notifications import show_warning

_PLUGIN = "napari-nh2st"


class Remembered:
    """One section of the plugin's settings, as the manifest declares them.

    napari keeps them in a file of its own and shows them in its preferences. Before napari 0.9
    there are none: then everything is as at first.

    Parameters
    ----------
    section
        Its key under ``configurations`` in the manifest.
    """

    def __init__(self, section: str) -> None:
        self._section = section

    def get(self, name: str, default: Any) -> Any:
        """A value, or the default where none is kept."""
        return getattr(plugin_section(self._section), name, default)

    def set(self, **values: Any) -> None:
        """Keep values for the next session."""
        section = plugin_section(self._section)
        for name, value in values.items():
            if getattr(section, name, value) != value:
                try:
                    setattr(section, name, value)
                except (OSError, ValueError) as error:
                    show_warning(f"The setting {name} could not be remembered: {error}")

    def reset(self) -> None:
        """Forget what was kept."""
        section = plugin_section(self._section)
        for name, field in getattr(type(section), "model_fields", {}).items():
            setattr(section, name, field.get_default(call_default_factory=True))


def plugin_section(section: str) -> Any:
    """A section of napari's settings for the plugin; None where there is none."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return None
    try:
        return getattr(get_plugin_settings(_PLUGIN), section, None)
    except KeyError:  # the plugin is used without being installed as one
        return None
