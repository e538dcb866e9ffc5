"""Files of checkpoints, each whole or not there."""

from pathlib import Path
from typing import Any

import torch

from napari_nh2st.errors import InputError
from napari_nh2st.files import whole_output


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, replacing the file only when the new one is on the disk.

    Parameters
    ----------
    path
        A file; its folder must exist.
    state
        Nested dicts and lists of tensors, numbers and texts.

    Raises
    ------
    InputError
        It cannot be written, such as on a full disk; the file that was there is as it was.
    """
    with whole_output(path) as draft:
        try:
            with draft.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:
            # What the system refuses makes torch's writer fail in words of its own.
            if not isinstance(error.__context__, OSError):
                raise
            raise error.__context__ from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`write_checkpoint` wrote; nothing in the file is executed.

    Raises
    ------
    InputError
        The file is missing, damaged or no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except Exception:  # whatever a file that is none does to its reader
        raise InputError(
            f"{path} is damaged or not a checkpoint; remove it to start again"
        ) from None
    if not isinstance(state, dict):
        raise InputError(f"{path} is not a checkpoint; remove it to start again")
    return state
