"""Checks of a training before a slide or a count is read.

Nothing here needs torch: a viewer asks before it starts a process.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import CONFIG_FILE, ModelConfig
from napari_nh2st.spots import Section
from napari_nh2st.training.record import MODEL_FOLDER, TEST_FOLDER, RunRecord, is_unfinished
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.split import set_aside


class SectionDonor(NamedTuple):
    """Name and donor of a section: all that its place in a split depends on."""

    name: str
    donor: str


def section_donors(sections: Iterable[Section]) -> list[SectionDonor]:
    """Name and donor of each section."""
    return [SectionDonor(section.section_id, section.donor_id) for section in sections]


def check_record(record: RunRecord, start: ModelConfig | None) -> None:
    """Refuse a training whose sections and settings cannot go together.

    Parameters
    ----------
    record
        Sections and settings.
    start
        Config of the start model; None without one, or where it is not known yet.

    Raises
    ------
    InputError
        No section is left to train on or none can be set aside, the start model has seen one that
        is held out, or the encoder's weights are not there.
    """
    settings, held_out = record.settings, record.held_out
    trained = [row for row in section_donors(record.sections) if row.name not in held_out]
    if not trained:
        raise InputError("No section is left to train on: give one that is not held out.")
    check_sources(settings, start, held_out)
    set_aside(trained, settings)


def check_sources(
    settings: TrainSettings, start: ModelConfig | None, tested: Sequence[str]
) -> None:
    """Refuse a start model that has seen what it is tested on, and a missing file of weights.

    Parameters
    ----------
    settings
        Settings of the training.
    start
        Config of the start model; None without one, or where it is not known yet.
    tested
        Names of the sections that test.

    Raises
    ------
    InputError
        As said.
    """
    if settings.start is not None and start is not None:
        check_not_seen(settings.start, start, tested, "or start from another model")
    if settings.encoder_weights is not None and not Path(settings.encoder_weights).is_file():
        raise InputError(f"encoder weights: there is no file {settings.encoder_weights}")


def sections_seen(config: ModelConfig, names: Iterable[str]) -> list[str]:
    """Those of the named sections that a model, or its start model, was trained on."""
    trained_on = set(config.training.get("sections", ()))
    return [name for name in names if name in trained_on]


def check_not_seen(name: str, config: ModelConfig, tested: Iterable[str], other: str) -> None:
    """Refuse to test a model on sections that it was trained on.

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
    if seen := sections_seen(config, tested):
        raise InputError(
            f"{name} was trained on {', '.join(seen)} (sections with that name): scores there do "
            "not tell how far to trust it. If they are other sections, rename them; else leave "
            f"them out, {other}"
        )


def check_folder(folder: Path, record: RunRecord) -> None:
    """Refuse a folder that the training could not write, or that holds a model already.

    Raises
    ------
    InputError
        It, or what it lies in, is a file or cannot be written; or a training has ended there.
    """
    check_place(folder)
    model = folder / MODEL_FOLDER
    is_scored = not record.held_out or (folder / TEST_FOLDER).exists()
    if (model / CONFIG_FILE).is_file() and is_scored and not is_unfinished(folder):
        raise InputError(f"{folder} already holds a trained model: give another folder.")


def check_place(folder: Path) -> None:
    """Refuse a folder that the training could not write.

    Raises
    ------
    InputError
        It, or what it lies in, is a file or cannot be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file: the training needs a folder. Give another one.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} cannot be written: give another folder for the training.")
