"""Settings that the docks remember from one session to the next, by napari's plugin settings.

The manifest declares them: ``scripts/write_options.py`` writes that part from :data:`SECTIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from napari.settings import get_plugin_settings
from napari.utils.notifications import show_warning

from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.errors import InputError
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.options import Option, Setting, settings_of
from napari_nh2st.prediction.reliability import THRESHOLD
from napari_nh2st.session.display_settings import DisplaySettings
from napari_nh2st.shown_text import for_qt
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.user_config import MODEL, configured

_PLUGIN = "napari-nh2st"

_CONFIGURED_BY: Mapping[str, str] = {
    "predict": "predict",
    "cohort": "predict",
    "compare": "predict",
    "train": "train",
    "domains": "domains",
    "export": "export",
}
"""Of a section, or of what has none, the table of the user's configuration with its defaults."""

KEEP = Setting(
    "keep",
    bool,
    True,
    Option(
        "Keep results",
        "Keep results on this machine, so that they are never computed twice",
    ),
)
KEEP_GB = Setting(
    "keep_gb",
    float,
    4.0,
    Option(
        "Largest size of kept results",
        "Beyond this size, the least recently used results are deleted",
        (0.1, 1000),
        unit="GB",
        step=1,
    ),
)
FOLDER = Setting(
    "folder",
    str,
    None,
    Option(
        "Results", "Folder of the results; a run continues from those that exist", default="none"
    ),
    optional=True,
)
RELIABLE_FROM = Setting(
    "reliable_from",
    float,
    THRESHOLD,
    Option(
        "Reliable from",
        "Held-out PCC from which a gene is reliable; others are greyed",
        (-1, 1),
        step=0.05,
    ),
)
_ONLY_RELIABLE = Option(
    "Only reliable", "Hide genes below that threshold, and those of unknown reliability"
)
ONLY_RELIABLE = Setting("only_reliable", bool, False, _ONLY_RELIABLE)
_FROM_RANDOM = Option("No start model", "Start training from random weights")


def _some(kind: Any, *names: str) -> tuple[Setting, ...]:
    settings = settings_of(kind)
    return tuple(settings[name] for name in names or settings)


def _without_choice(name: str, otherwise: str) -> Setting:
    """A setting of a training that may be left open, with what is done then."""
    setting = settings_of(TrainSettings)[name]
    return replace(
        setting, optional=True, default=None, option=replace(setting.option, default=otherwise)
    )


SECTIONS: Mapping[str, tuple[Setting, ...]] = {
    "predict": (
        MODEL,
        *_some(PredictSettings, "step_um", "pitch_um", "min_tissue", "tissue_only"),
        *_some(PredictSettings, "head_values", "image_features", "nuclei", "device", "any_stain"),
        KEEP,
        KEEP_GB,
    ),
    "cohort": (
        MODEL,
        FOLDER,
        *_some(PredictSettings, "step_um", "pitch_um", "min_tissue", "tissue_only"),
        *_some(PredictSettings, "head_values", "image_features", "nuclei", "device", "any_stain"),
        *_some(CohortSettings, "format", "workers", "scheduler"),
    ),
    "compare": (MODEL, *_some(PredictSettings, "device")),
    "genes": (RELIABLE_FROM, ONLY_RELIABLE, *_some(DisplaySettings)),
    "train": (
        _without_choice("start", "the bundled one"),
        Setting("from_random", bool, False, _FROM_RANDOM),
        _without_choice("encoder", "what fits the start"),
        *_some(TrainSettings, "context", "epochs", "validation", "device"),
    ),
}
"""Settings that each section of the manifest declares, by its key."""


class Remembered:
    """One section of the plugin's settings, as the manifest declares them.

    napari keeps them in a file of its own and shows them in its preferences.

    Parameters
    ----------
    section
        Its key under ``configurations`` in the manifest.
    """

    def __init__(self, section: str) -> None:
        self.section = section

    def get(self, name: str, default: Any) -> Any:
        """A value, or the default where none is kept."""
        return getattr(plugin_section(self.section), name, default)

    def set(self, **values: Any) -> None:
        """Keep values for the next session."""
        section = plugin_section(self.section)
        for name, value in values.items():
            if getattr(section, name, value) != value:
                try:
                    setattr(section, name, value)
                except (OSError, ValueError) as error:
                    show_warning(for_qt(f"The setting {name} could not be remembered: {error}"))

    def reset(self) -> None:
        """Forget what was kept."""
        section = plugin_section(self.section)
        for name, field in getattr(type(section), "model_fields", {}).items():
            setattr(section, name, field.get_default(call_default_factory=True))


_WARNED: set[str] = set()


def plugin_section(section: str) -> Any:
    """A section of napari's settings for the plugin; None where there is none."""
    try:
        return getattr(get_plugin_settings(_PLUGIN), section, None)
    except KeyError:  # the plugin is used without being installed as one
        return None


def remembered_values(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a section keeps them.

    Parameters
    ----------
    section
        Key of the section.
    values
        By name of the field; those that the section does not have are left out.

    Returns
    -------
    dict
        By key of the section; an empty text or 0 stands for None.
    """
    return {
        key(setting): plain_value(setting, values[setting.name])
        for setting in SECTIONS[section]
        if setting.name in values
    }


def usual_values(section: str) -> dict[str, Any]:
    """Defaults that the user's configuration has for a section, by name of the field.

    A file that cannot be used is said, and left alone.
    """
    table = _CONFIGURED_BY.get(section)
    try:
        return {} if table is None else configured(table)
    except InputError as error:
        warn_once(str(error))
        return {}


def warn_once(text: str) -> None:
    """Say what is wrong with the user's configuration: several forms begin with it."""
    if text not in _WARNED:
        _WARNED.add(text)
        show_warning(for_qt(text))


def restored_values(section: str, get: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Settings that a section has kept, by name of the field; else those of the configuration.

    napari keeps no value that is the default of the manifest: in its place, too, stands what the
    user's configuration says.

    Parameters
    ----------
    section
        Key of the section.
    get
        Gives the kept value of a key, or the default it is handed. A value that cannot be, such as
        a choice of another version, counts as the default.
    """
    restored = {}
    usual = usual_values(section)
    for setting in SECTIONS[section]:
        default = plain_value(setting, setting.default)
        kept = get(key(setting), default)
        if kept == default and setting.name in usual:
            restored[setting.name] = usual[setting.name]
            continue
        value = kept
        if setting.optional and kept in ("", 0):
            value = None
        elif setting.kind in (bool, int, float, str):
            value = setting.kind(kept)
        if setting.option.negative:
            value = not value
        try:
            setting.check(value)
        except InputError:
            value = setting.default
        restored[setting.name] = value
    return restored


def key(setting: Setting) -> str:
    """Name under which a section keeps a setting."""
    return setting.option.negative or setting.name


def plain_value(setting: Setting, value: Any) -> Any:
    """A value as a section keeps it."""
    if value is None:
        return 0.0 if setting.kind in (int, float) else ""
    return not value if setting.option.negative else value
