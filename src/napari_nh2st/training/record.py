"""Record of a training in its folder, from which it can be resumed later.

Nothing here needs torch: a viewer reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.files import recover, write_text
from napari_nh2st.model.config import CONFIG_FILE
from napari_nh2st.remote import RemotePath, slide_path
from napari_nh2st.spots import Fix, PanelSettings, Section
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.settings import TrainSettings

RECORD, LAST = "run.json", "last.pt"
"""Files in the folder of a training: this record, and the latest checkpoint."""

MODEL_FOLDER = "model"
"""Folder of the trained model, in that of the training."""

TEST_FOLDER, TEST_BEFORE_FOLDER = "test", "test-before"
"""Scores of the model on held-out sections, and those of the start model."""

FREE = ("device", "checkpoint_minutes", "gradient_checkpointing")
"""Settings that may change between a run and its continuation."""


@dataclass(frozen=True)
class RunRecord:
    """Sections and settings of a training.

    Parameters
    ----------
    sections
        Sections that train, validate and test, in the order given.
    settings
        Settings of the training.
    name
        Name of the model; None for the folder's.
    held_out
        Names of the sections that only test.
    trust_positions
        As in :func:`~napari_nh2st.training.load_study`.
    """

    sections: tuple[Section, ...]
    settings: TrainSettings
    name: str | None = None
    held_out: tuple[str, ...] = ()
    trust_positions: bool = False

    def goes_on_with(self, other: "RunRecord") -> bool:
        """Whether this is the same training as another, and can go on from its checkpoint.

        Sections that only test may differ, and so may the settings in :data:`FREE`.
        """
        return self._what_trains() == other._what_trains()

    def resumes(self, folder: Path) -> bool:
        """Whether a folder holds an unfinished training that this one would go on with."""
        if not is_unfinished(folder):
            return False
        try:
            return self.goes_on_with(read_record(folder))
        except InputError:  # it was begun elsewhere: the training will see
            return True

    def _what_trains(self) -> tuple[tuple[Section, ...], TrainSettings]:
        trained = tuple(s for s in self.sections if s.section_id not in self.held_out)
        usual = TrainSettings()
        return trained, replace(self.settings, **{name: getattr(usual, name) for name in FREE})

    def write(self, folder: Path) -> None:
        """Write the record into the folder of the training.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        content = {
            "sections": [
                {name: _plain(value) for name, value in asdict(section).items()}
                for section in self.sections
            ],
            "settings": self.settings.to_json(),
            "name": self.name,
            "held_out": list(self.held_out),
            "trust_positions": self.trust_positions,
        }
        write_text(folder / RECORD, json.dumps(content, indent=1) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Read the record of the training in a folder.

    Raises
    ------
    InputError
        The folder has no record, or it cannot be understood.
    """
    path = folder / RECORD
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return RunRecord(
            tuple(_section(section) for section in content["sections"]),
            _settings(content["settings"]),
            content["name"],
            tuple(content["held_out"]),
            bool(content["trust_positions"]),
        )
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a record of a training: {error}") from None


def is_unfinished(folder: Path) -> bool:
    """Whether a training in the folder was stopped or killed, and can be resumed."""
    return (folder / LAST).is_file()


def is_trained(folder: Path) -> bool:
    """Whether a training in the folder has ended, and its model is there."""
    recover(folder / MODEL_FOLDER)
    return (folder / MODEL_FOLDER / CONFIG_FILE).is_file() and not is_unfinished(folder)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path | RemotePath) else value


def _section(values: Mapping[str, Any]) -> Section:
    positions, fix, features = values["positions"], values.get("fix"), values.get("features")
    section = Section(
        values["section_id"],
        values["donor_id"],
        slide_path(values["slide"]),
        Path(values["expression"]),
        None if positions is None else Path(positions),
        values["mpp"],
        None if fix is None else Fix(**fix),
        *(values.get(name) for name in ("library", "bin_um", "coordinate_system", "image")),
    )
    return section if features is None else replace(section, features=Path(features))


def _settings(values: dict[str, Any]) -> TrainSettings:
    known = {field.name for field in fields(TrainSettings)}
    given = {name: value for name, value in values.items() if name in known}
    if "panel" in given:
        panel = dict(given["panel"])
        given["panel"] = PanelSettings(**(panel | {"genes": tuple(panel["genes"])}))
    if "augmentation" in given:
        given["augmentation"] = AugmentationSettings(**given["augmentation"])
    given["validation_sections"] = tuple(given.get("validation_sections", ()))
    return TrainSettings(**given)
