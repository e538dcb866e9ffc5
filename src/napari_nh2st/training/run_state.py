"""Checkpoints of a training, its table of epochs, and the lock on its folder."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.files import InUse, Lock, make_folder, recover, write_text
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.weights_file import file_sha256
from napari_nh2st.training.checkpoint import read_checkpoint, write_checkpoint
from napari_nh2st.training.events import EpochDone
from napari_nh2st.training.first_process import is_helper
from napari_nh2st.training.record import FREE, LAST
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.spot_features import features_for
from napari_nh2st.training.study import MeasuredSection

BEST, HISTORY, LOCK = "best.pt", "history.csv", "running.lock"

_FORMAT = 3
"""Of a checkpoint: 1 had fixed names of losses, 2 an identity without what the slides show."""


def run_identity(
    sections: Sequence[MeasuredSection],
    panel: Sequence[str],
    settings: TrainSettings,
    start_sha256: str | None,
) -> str:
    """Digest of everything that must be the same for a run to resume an earlier one."""
    given = settings.to_json()
    if settings.encoder_weights is not None:
        # Another file may have taken the place of the one that the run began with.
        with contextlib.suppress(OSError):
            given["encoder_weights"] = file_sha256(Path(settings.encoder_weights))
    content = {
        "settings": {name: value for name, value in given.items() if name not in FREE},
        "sections": [[s.name, s.donor, str(s.section.slide), *_content_of(s)] for s in sections],
        "panel": list(panel),
        "start": start_sha256,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sections_sha256(sections: Sequence[MeasuredSection], config: ModelConfig) -> str:
    """Digest of what sections show to a model: slides, counts, positions, and given features."""
    content: list[Any] = [_content_of(section) for section in sections]
    if config.takes_features:
        content += [features_for(each.section, each.mpp, config).sha256 for each in sections]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _content_of(section: MeasuredSection) -> list[Any]:
    """Slide, counts and positions of a section, whatever its files are named."""
    return [
        section.fingerprint,
        float(section.spots.X.sum()),
        hashlib.sha256(section.centers.tobytes()).hexdigest(),
        list(section.mpp),
    ]


class RunFolder:
    """The checkpoints of a run.

    Parameters
    ----------
    folder
        Made when first written to.
    identity
        From :func:`run_identity`.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self._identity = identity
        self._stored_best: int | None = None

    def save(
        self,
        optimization: dict[str, Any],
        history: Sequence[EpochDone],
        best: dict[str, Tensor] | None,
    ) -> None:
        """Write a checkpoint: state, every epoch, and the best weights so far.

        Raises
        ------
        InputError
            It cannot be written; what was there is unchanged.
        """
        epoch = history[-1].best_epoch if history else 0
        # Before the state that speaks of them: a kill in between does some steps again, and
        # comes to the same weights.
        if best is not None and epoch != self._stored_best:
            self._write(BEST, {"epoch": epoch, "weights": best})
            self._stored_best = epoch
        self._write(
            LAST,
            {"optimization": optimization, "history": [vars(done) for done in history]},
        )

    def load_last(self) -> dict[str, Any] | None:
        """Read the checkpoint of an earlier run; None if there was none.

        Raises
        ------
        InputError
            It was a run of other sections or settings, or its file is damaged.
        """
        return self._read(LAST)

    def load_best(self) -> dict[str, Tensor]:
        """Read the best weights so far.

        Raises
        ------
        InputError
            The file is missing or damaged.
        """
        state = self._read(BEST)
        if state is None:
            raise InputError(f"{self.folder / BEST} is missing; remove {LAST} to start again")
        self._stored_best = int(state["epoch"])
        weights: dict[str, Tensor] = state["weights"]
        return weights

    def save_history(self, history: Sequence[EpochDone]) -> None:
        """Write a table with a row for each epoch."""
        names = list(dict.fromkeys(name for epoch in history for name in epoch.losses))
        rows = [_row(epoch, names) for epoch in history]
        lines = [",".join(rows[0])]
        lines += [",".join("" if v is None else f"{v:.6g}" for v in row.values()) for row in rows]
        make_folder(self.folder)
        write_text(self.folder / HISTORY, "\n".join(lines) + "\n")

    def _write(self, name: str, state: dict[str, Any]) -> None:
        make_folder(self.folder)
        about = {"format": _FORMAT, "identity": self._identity}
        write_checkpoint(self.folder / name, about | state)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        recover(path)
        if not path.exists():
            return None
        state = read_checkpoint(path)
        if state.get("format") != _FORMAT:
            raise InputError(
                f"{self.folder} holds a stopped run of an earlier version, which this one cannot "
                "continue; give another folder"
            )
        if state.get("identity") != self._identity:
            raise InputError(
                f"{self.folder} holds a stopped run with other sections or settings; give the "
                "same again to continue it, or give another folder. A slide that was replaced by "
                "another of the same name counts as another section"
            )
        return state


def _row(epoch: EpochDone, terms: Sequence[str]) -> dict[str, float | None]:
    """An epoch's values by column; the terms of the loss stand where ``losses`` is."""
    row: dict[str, float | None] = {}
    for name, value in vars(epoch).items():
        row |= {t: value.get(t) for t in terms} if name == "losses" else {name: value}
    return row


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a run that is over."""
    for name in (LAST, BEST):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def only_run_in(folder: Path | None) -> Iterator[None]:
    """Keep two runs from writing the same checkpoints.

    Raises
    ------
    InputError
        Another one is running in the folder, or it cannot be written to.
    """
    helps = is_helper()  # the first process holds the lock
    if folder is None or helps:
        yield
        return
    make_folder(folder)
    try:
        lock = Lock(folder / LOCK)
    except InUse:
        raise InputError(f"another training is running in {folder}; give another folder") from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()  # where nothing was written: refused before the first step
