"""Files of the Hugging Face Hub, brought into its local cache."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_nh2st.files import InUse, Lock


def fetch_files(hub: Any, repository: str, commit: str, files: Iterable[str]) -> Path:
    """Bring files of a commit into the local cache, one after the other in this thread.

    The library brings a whole snapshot in threads of its own, which Ctrl-C would wait for. Files
    that are whole stay in the cache after a stop, and the next fetch goes on with the others.

    Parameters
    ----------
    hub
        The package ``huggingface_hub``.
    repository, commit
        ``owner/name`` and the full hash.
    files
        Those that the commit does not have are left out; it has the first.

    Returns
    -------
    Path
        The folder of the commit.
    """
    found: list[str] = []
    cache = Path(hub.constants.HF_HUB_CACHE)
    _remove_parts(cache, repository)  # of a fetch that was killed
    try:
        for file in files:
            try:
                found.append(
                    hub.hf_hub_download(
                        repository, file, revision=commit, endpoint=os.environ.get("HF_ENDPOINT")
                    )
                )
            except hub.errors.EntryNotFoundError as error:
                # Also where the Hub cannot be reached, and the file is not in the cache.
                if not found or isinstance(error, hub.errors.LocalEntryNotFoundError):
                    raise
    except KeyboardInterrupt:
        _remove_parts(cache, repository)
        raise
    return Path(found[0]).parent


def _remove_parts(cache: Path, repository: str) -> None:
    """Remove parts of files that nobody fetches, nor goes on with: their names are unique."""
    folder = f"models--{repository.replace('/', '--')}"
    for begun in (cache / folder / "blobs").glob("*.*.incomplete"):
        lock = cache / ".locks" / folder / f"{begun.name.partition('.')[0]}.lock"
        with suppress(InUse, OSError):  # somebody else is fetching it
            held = Lock(lock)
            begun.unlink()
            held.release()
