"""Labels of models in lists: the name, when it was trained, and what tells namesakes apart."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import CONFIG_FILE, read_config


def model_labels(models: Sequence[str]) -> dict[str, str]:
    """A label for each of some models, each another one.

    Parameters
    ----------
    models
        Folders, or names of bundled models or of those on the Hub.

    Returns
    -------
    dict of str to str
        By the model. A folder has the name in its config and, where that records it, when it was
        trained, in this machine's time; of the same for several, the end of the path as well.
        Anything else, and a folder whose config cannot be read, is its own label.
    """
    labels = {model: _label(model) for model in models}
    for label in set(labels.values()):
        alike = [model for model, other in labels.items() if other == label]
        if len(alike) > 1:
            labels |= {model: f"{label} · {end}" for model, end in _ends(alike).items()}
    return labels


def _label(model: str) -> str:
    path = Path(model) / CONFIG_FILE
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return model
    return _of_folder(path.parent, changed) or model


@lru_cache(maxsize=256)
def _of_folder(folder: Path, _changed_ns: int) -> str:
    """Label of a folder; empty where its config cannot be read."""
    try:
        config = read_config(folder)
    except InputError:
        return ""
    name = " ".join(config.name.split())
    when = config.trained_at
    return name if when is None else f"{name} · {when.astimezone():%Y-%m-%d %H:%M}"


def _ends(models: Iterable[str]) -> dict[str, str]:
    """The shortest ends of paths that differ."""
    parts = {model: Path(model).parts for model in models}
    depth, longest = 1, max(map(len, parts.values()))
    while depth < longest and len({path[-depth:] for path in parts.values()}) < len(parts):
        depth += 1
    return {model: str(Path(*path[-depth:])) for model, path in parts.items()}
