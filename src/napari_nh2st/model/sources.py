"""Sources of models: bundled with the package, in a folder, or on the Hugging Face Hub."""

import logging
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.extras import import_extra
from napari_nh2st.files import recover
from napari_nh2st.model.config import (
    CARD_FILE,
    CONFIG_FILE,
    ENCODER_FILE,
    HEADS_FILE,
    WEIGHTS_FILE,
    read_config,
)
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.hub_files import fetch_files

if TYPE_CHECKING:
    from napari_nh2st.model.folder import Model

_log = logging.getLogger(__name__)

HUB_PREFIX = "hf:"
"""May stand before the id of a model on the Hub."""

HUB_FILES = (CONFIG_FILE, WEIGHTS_FILE, HEADS_FILE, ENCODER_FILE, CARD_FILE)
"""Files of a model on the Hub; others are not downloaded."""

_HUB_ID = re.compile(r"(hf:)?(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")


def bundled_models() -> dict[str, Path]:
    """The models that come with the package: folder by name."""
    base = Path(str(resources.files("napari_nh2st"))) / "models"
    return {path.parent.name: path.parent for path in sorted(base.glob(f"*/{CONFIG_FILE}"))}


def find_model(name_or_path: str | Path, revision: str | None = None) -> Path:
    """Find the folder of a model; a model on the Hub is downloaded first.

    Parameters
    ----------
    name_or_path
        A bundled model's name, a folder, or a Hugging Face repository id ``owner/name``, with or
        without ``hf:`` before it.
    revision
        For the Hub: the full commit hash (40 hexadecimal digits). It may stand in the id instead,
        ``owner/name@hash``. Branches and tags are refused, since what they point to can change.

    Raises
    ------
    InputError
        There is no such model, the revision is missing, or the Hub cannot be reached.

    Examples
    --------
    .. code-block:: python

        read_config(find_model("her2-breast-demo")).panel
    """
    name = str(name_or_path)
    try:
        path = Path(name).expanduser()
    except RuntimeError:  # ~ of a user that there is not
        path = Path(name)
    if not path.exists():
        recover(path)  # a kill while it was replaced leaves none under its name
    if path.is_dir():
        return path
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    if path.is_file():
        raise InputError(
            f"{name} is a file; a model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}. "
            "Pickled checkpoints are never loaded as models."
        )
    if re.fullmatch(r"(hf:)?[\w.-]+/[\w.-]+(@.*)?", name) and not name.startswith("."):
        return _from_hub(f"{name}@{revision}" if revision else name)
    known = f" Bundled models: {', '.join(bundled)}." if bundled else ""
    raise InputError(f"There is no model {name}: no folder of that name.{known}")


def whole_path(name: str) -> str:
    """A model folder by its whole path, which holds in another working folder; else the name."""
    path = Path(name).expanduser()
    return str(path.absolute()) if path.is_dir() else name


def is_hub_id(name: str) -> bool:
    """Whether a name is an id of the Hub with its revision, ``owner/name@hash``, and no folder."""
    return _HUB_ID.fullmatch(name) is not None and not Path(name).is_dir()


def find_config(name_or_path: str | Path) -> Path:
    """The folder of a model's config; of the Hub, its weights are not downloaded.

    Parameters
    ----------
    name_or_path
        As in :func:`find_model`.

    Raises
    ------
    InputError
        As :func:`find_model`.
    """
    name = str(name_or_path)
    return _from_hub(name, [CONFIG_FILE]) if is_hub_id(name) else find_model(name)


def load_model(name_or_path: str | Path, revision: str | None = None) -> "Model":
    """Load a model by name, folder or Hugging Face repository id.

    Weights are read from safetensors; no pickle is ever executed.

    Parameters
    ----------
    name_or_path, revision
        As for :func:`find_model`, such as ``"her2-breast-demo"`` or ``"run/model"``.

    Returns
    -------
    Model
        Network and ``config``: panel, tile, µm/px, reliability of each gene.

    Raises
    ------
    InputError
        There is no such model, or something in its folder is wrong; the message names the field.

    Examples
    --------
    .. code-block:: python

        model = load_model("path/to/model")
        model.config.panel[:3]
    """
    folder = find_model(name_or_path, revision)
    from napari_nh2st.model.folder import load_model_folder

    model = load_model_folder(folder, str(name_or_path))
    _log.info("model %s: sha256 %s, in %s", name_or_path, model.config.weights["sha256"], folder)
    return model


def hub_snapshot(repository: str, commit: str, files: Sequence[str] = HUB_FILES) -> Path:
    """The folder of a commit in the Hub's local cache; fetched, unless it is there.

    Parameters
    ----------
    repository
        ``owner/name``.
    commit
        Its full hash.
    files
        What is wanted of it, as far as it has it.

    Raises
    ------
    InputError
        It cannot be fetched.
    """
    hub = import_extra("huggingface_hub", "hub", "A model from the Hugging Face Hub")
    known = _kept_snapshot(hub, repository, commit, files)
    if known is not None:
        return known
    try:
        return fetch_files(hub, repository, commit, files)
    except Exception as error:  # its errors come from several HTTP libraries
        reason = first_line(error)
        raise InputError(
            f"{repository}@{commit} could not be fetched from the Hub: {reason}"
        ) from error


def _from_hub(name: str, files: Sequence[str] = HUB_FILES) -> Path:
    match = _HUB_ID.fullmatch(name)
    if match is None:
        raise InputError(
            f"{name} is neither a folder nor a pinned Hugging Face model: give owner/name@REVISION "
            "with the full commit hash (40 hexadecimal digits) as revision, which `nh2st model "
            "pull` prints"
        )
    return hub_snapshot(match["repository"], match["revision"], files)


def _kept_snapshot(hub: Any, repository: str, commit: str, files: Sequence[str]) -> Path | None:
    """The folder of a commit whose files were fetched before; no server is asked."""

    def kept(file: str) -> Path | None:
        path = hub.try_to_load_from_cache(repository, file, revision=commit)
        return Path(path) if isinstance(path, str) else None

    config = kept(CONFIG_FILE)
    if config is None:
        return None
    if WEIGHTS_FILE in files:
        try:
            about = read_config(config.parent)
        except InputError:  # which who loads it will say
            return config.parent
        needed = [WEIGHTS_FILE, *([HEADS_FILE] if about.heads is not None else [])]
        if about.encoder is not None and about.encoder["weights"] == "model":
            needed += [ENCODER_FILE] if parse_key(about.encoder["key"]).kind == "onnx" else []
        if not all(map(kept, needed)):
            return None
    return config.parent
