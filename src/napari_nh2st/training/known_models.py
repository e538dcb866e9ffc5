"""Models that were trained or chosen before, and trainings that were not finished.

They are remembered in one small file, for all sessions of this user and for the command.
"""

import contextlib
import json
import os
from pathlib import Path

import platformdirs

from napari_nh2st.errors import InputError
from napari_nh2st.files import make_folder, write_text
from napari_nh2st.model.config import CONFIG_FILE
from napari_nh2st.model.sources import bundled_models
from napari_nh2st.training.record import is_unfinished

_FILE = "known-models.json"
_MOST = 50


def known_models() -> list[str]:
    """Names of the bundled models, then folders that were trained or chosen, the latest first.

    Folders that are no longer there are left out.
    """
    folders = [f for f in _read("models") if (Path(f) / CONFIG_FILE).is_file()]
    return [*bundled_models(), *folders]


def remember_model(folder: Path) -> None:
    """Keep a model folder for :func:`known_models`."""
    _keep("models", folder)


def remember_run(folder: Path) -> None:
    """Keep the folder of a training that begins, for :func:`unfinished_runs`."""
    _keep("runs", folder)


def unfinished_runs() -> list[Path]:
    """Folders of trainings that were stopped or killed and can go on, the latest first."""
    return [Path(folder) for folder in _read("runs") if is_unfinished(Path(folder))]


def models_folder() -> Path:
    """Where trained models go unless another place is chosen; not made."""
    return platformdirs.user_data_path("napari-nh2st", appauthor=False) / "nh2st-models"


def _file() -> Path:
    """The file: with the cache where NH2ST_CACHE puts that, else with the user's settings."""
    base = os.environ.get("NH2ST_CACHE") or platformdirs.user_config_dir("napari-nh2st", False)
    return Path(base) / _FILE


def _content() -> dict[str, list[str]]:
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read(kind: str) -> list[str]:
    kept = _content().get(kind, [])
    return [str(folder) for folder in kept] if isinstance(kept, list) else []


def _keep(kind: str, folder: Path) -> None:
    name = str(folder.absolute())
    content = _content()
    content[kind] = [name, *(other for other in _read(kind) if other != name)][:_MOST]
    path = _file()
    # What is remembered is a convenience: a training must not fail over it.
    with contextlib.suppress(InputError):
        make_folder(path.parent)
        write_text(path, json.dumps(content, indent=1) + "\n")
