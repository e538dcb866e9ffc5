"""What a training refuses before a slide or a count is read.

Nothing here needs torch: a viewer asks before it starts a process.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import CONFIG_FILE, ModelConfig
from napari_nh2st.training.record import RunRecord, is_unfinished
from napari_nh2st.training.split import set_aside

_MODEL, _TEST = "model", "test"
"""As ``MODEL_FOLDER`` of training.fit and ``TEST_FOLDER`` of training.held_out: they need torch."""


class _Row(NamedTuple):
    """A section as the table has it."""

    name: str
    donor: str


def check_record(record: RunRecord, start: ModelConfig | None) -> None:
    """Refuse a training whose sections and settings cannot go together.

    Parameters
    ----------
    record
        What is asked for.
    start
        Config of the start model; None without one, or where it is not known yet.

    Raises
    ------
    InputError
        No section is left to train on or none can be set aside, the start model has seen one that
        is held out, or the encoder's weights are not there.
    """
    settings, held_out = record.settings, record.held_out
    rows = [_Row(section.section_id, section.donor_id) for section in record.sections]
    trained = [row for row in rows if row.name not in held_out]
    if not trained:
        raise InputError("No section is left to train on: give one that is not held out.")
    if settings.start is not None and start is not None:
        check_not_seen(settings.start, start, held_out, "or start from another model")
    if settings.encoder_weights is not None and not Path(settings.encoder_weights).is_file():
        raise InputError(f"There is no file {settings.encoder_weights} with encoder weights.")
    set_aside(trained, settings)


def check_not_seen(name: str, config: ModelConfig, tested: Collection[str], other: str) -> None:
    """Refuse to call sections held out that a model was trained on.

    Parameters
    ----------
    name, config
        The model.
    tested
        Names of the sections.
    other
        What else can be done about it, for the message.

    Raises
    ------
    InputError
        It was trained on sections of such names.
    """
    seen = [section for section in config.training.get("sections", ()) if section in tested]
    if seen:
        raise InputError(
            f"{name} was trained on {', '.join(seen)} (sections of that name): scores there do "
            f"not tell how far to trust it. Give the sections other names if they are others, "
            f"leave them out, {other}"
        )


def check_folder(folder: Path, record: RunRecord) -> None:
    """Refuse a folder that the training could not write, or that holds a model already.

    Raises
    ------
    InputError
        It, or what it lies in, is a file or cannot be written; or a training has ended there.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file: the training needs a folder. Give another one.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} cannot be written: give another folder for the training.")
    model = folder / _MODEL
    is_scored = not record.held_out or (folder / _TEST).exists()
    if (model / CONFIG_FILE).is_file() and is_scored and not is_unfinished(folder):
        raise InputError(f"{folder} holds a trained model already: give another folder.")
