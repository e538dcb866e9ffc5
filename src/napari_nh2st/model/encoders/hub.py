"""Encoders on the Hugging Face Hub: fetched when asked for, and found in the local cache."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.extras import import_extra
from napari_nh2st.model.encoders.key import EncoderKey, is_commit
from napari_nh2st.model.hub_files import fetch_files

SAFE_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
PICKLED_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")
_DESCRIPTIONS = ("config.json", "preprocessor_config.json", "README.md", "LICENSE*")


def cached_folder(key: EncoderKey) -> tuple[Path, str]:
    """The folder of an id in the Hub's local cache, and its commit. Nothing is fetched.

    Parameters
    ----------
    key
        Has a repository. Without a revision, what was fetched last as the newest is taken.

    Raises
    ------
    InputError
        It is not there; says what fetches it.
    """
    hub = import_extra("huggingface_hub", "hub", "An encoder of the Hugging Face Hub")
    if key.revision is not None and not is_commit(key.revision):
        raise InputError(
            f"encoder {key}: revision {key.revision!r} can change what it names; give the full "
            "commit hash (40 hexadecimal digits), which `nh2st model fetch-encoder` prints"
        )
    # By one of its files: a whole snapshot has many that an encoder does not need.
    found = hub.try_to_load_from_cache(key.repository, "config.json", revision=key.revision)
    if not isinstance(found, str):
        raise not_here(key)
    folder = Path(found).parent
    return folder, folder.name


def not_here(key: EncoderKey) -> InputError:
    """Say that an encoder of the Hub is not on this machine, and what fetches it."""
    return InputError(
        f"encoder {key} is not on this machine, and nothing is downloaded unless you ask for it. "
        f"`nh2st model fetch-encoder '{key}'` downloads it once"
    )


def fetch(key: EncoderKey) -> EncoderKey:
    """Fetch an encoder into the Hub's local cache: weights as safetensors where there are such.

    Parameters
    ----------
    key
        Of kind ``"transformers"`` or ``"timm"``, with an id of the Hub. A branch or tag is taken,
        too.

    Returns
    -------
    EncoderKey
        The same, pinned to the commit that was fetched.

    Raises
    ------
    InputError
        It is no id of the Hub, is gated, has no weights that are read here, or cannot be reached.
    """
    key = key.with_owner
    if key.repository is None:
        raise InputError(
            f"{key} is not on the Hugging Face Hub; give transformers:owner/name or "
            "timm:owner/name, with @REVISION for another commit than the newest"
        )
    hub = import_extra("huggingface_hub", "hub", "Fetching an encoder")
    # Read here as well: the library looks at it once, when it is imported.
    endpoint = os.environ.get("HF_ENDPOINT")
    try:
        info = hub.HfApi(endpoint=endpoint).model_info(key.repository, revision=key.revision)
        commit = str(info.sha)
        every = (file.rfilename for file in info.siblings or ())
        names = [name for name in every if "/" not in name]
        patterns = [*_DESCRIPTIONS, *_weights(key, names)]
        wanted = [n for n in names if any(fnmatchcase(n, pattern) for pattern in patterns)]
        fetch_files(hub, key.repository, commit, wanted)
        if key.revision is None:
            _remember_newest(hub, key.repository, commit)
    except InputError:
        raise
    except hub.errors.GatedRepoError:
        raise InputError(
            f"{key.repository} is gated: accept its terms on its page on the Hub, log in with "
            "`hf auth login`, and fetch it again"
        ) from None
    except hub.errors.RepositoryNotFoundError:
        raise InputError(
            f"the Hub has no model {key.repository}, or does not show it to you"
        ) from None
    except Exception as error:  # its errors come from several HTTP libraries
        raise InputError(f"{key} could not be fetched from the Hub: {first_line(error)}") from error
    return EncoderKey(key.kind, f"{key.repository}@{commit}", key.options)


def _weights(key: EncoderKey, names: Sequence[str]) -> tuple[str, ...]:
    """Patterns of the weights to fetch, the safe ones if there are any."""
    if any(name.endswith(".safetensors") for name in names):
        return SAFE_WEIGHTS
    if any(name.startswith("pytorch_model") and name.endswith(".bin") for name in names):
        return PICKLED_WEIGHTS
    raise InputError(f"{key.repository} has neither safetensors nor pytorch_model.bin")


def _remember_newest(hub: object, repository: str, commit: str) -> None:
    """Note the commit as the newest one, which a fetch by its hash leaves open."""
    from huggingface_hub import constants, file_download

    place = Path(constants.HF_HUB_CACHE) / file_download.repo_folder_name(
        repo_id=repository, repo_type="model"
    )
    newest = place / "refs" / "main"
    newest.parent.mkdir(parents=True, exist_ok=True)
    newest.write_text(commit, encoding="utf-8")
