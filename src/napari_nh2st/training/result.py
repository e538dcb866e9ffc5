"""Config of a trained model, and the model that an earlier run left."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import PUBLISHED_TARGET, ModelConfig, read_config
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.readers import describe, weights_digest
from napari_nh2st.model.folder import Model, load_model_folder
from napari_nh2st.model.hyperparameters import names_of
from napari_nh2st.model.network import Network
from napari_nh2st.model.weights_file import file_sha256
from napari_nh2st.training.defaults import same_settings, start_config
from napari_nh2st.training.events import EpochDone
from napari_nh2st.training.prepare import PreparedTraining
from napari_nh2st.training.record import MODEL_FOLDER, is_trained
from napari_nh2st.training.run_state import remove_checkpoints, sections_sha256
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.study import MeasuredSection


def best_of(history: Sequence[EpochDone]) -> EpochDone:
    """The best epoch so far of some that are done."""
    (best,) = (epoch for epoch in history if epoch.epoch == history[-1].best_epoch)
    return best


def trained_config(
    prepared: PreparedTraining,
    network: Network,
    history: Sequence[EpochDone],
) -> ModelConfig:
    """The config of a model that has been trained.

    Its ``training`` holds the ``date``, now; ``sections`` and ``donors`` it saw, those of the start
    model and the ``validation`` sections among them; ``own_sections`` of this training alone,
    and what these showed as ``sections_sha256``;
    ``target_mean`` by gene, the baseline that an evaluation compares with; ``best_epoch`` of
    ``epochs`` with its ``validation_pcc``; the ``settings``; the model that it ``start``-ed from
    with the sha256 of its weights, and that of a file of ``encoder_weights``;
    and the ``stain`` of its sections, which slides are compared with.
    """
    sections, start, validation = prepared.sections, prepared.start, prepared.validation_names
    donors = list(dict.fromkeys(section.donor for section in sections))
    names = [section.name for section in sections]
    # What the start model has seen, this one has seen: a test on it would say nothing.
    before = {} if start is None else start.config.training
    seen = [section for section in sections if section.name not in set(validation)]
    best = best_of(history) if history else None
    epochs = history[-1].epoch if history else 0
    n_spots = sum(section.spots.n_obs for section in seen)
    taught = list(dict.fromkeys(section.donor for section in seen))
    summary = (
        f"Trained on {len(seen)} section{_s(seen)} ({n_spots} spots) of {len(taught)} "
        f"donor{_s(taught)}"
        + (f", starting from {start.config.name}" if start is not None else "")
        + (f"; the epoch was chosen on {', '.join(validation)}" if validation else "")
        + (
            "; its training targets were smoothed with SPCS"
            if prepared.settings.smoothing == "spcs"
            else ""
        )
        + "."
    )
    training = {
        "trained": True,
        "summary": summary,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "sections": list(dict.fromkeys([*before.get("sections", ()), *names])),
        "donors": list(dict.fromkeys([*before.get("donors", ()), *donors])),
        "own_sections": names,
        "n_spots": n_spots,
        "validation": list(validation),
        "epochs": epochs,
        "best_epoch": best.epoch if best else 0,
        "validation_pcc": best.validation_pcc if best else None,
        "start": None if start is None else start.config.name,
        **_start_digests(prepared.settings, None if start is None else start.config),
        "settings": prepared.settings.to_json(),
        "target_mean": {
            gene: round(float(value), 6)
            for gene, value in zip(prepared.panel, prepared.baseline, strict=True)
        },
        "versions": {package: metadata.version(package) for package in ("napari-nh2st", "torch")},
    }
    if prepared.stain is not None:
        training["stain"] = prepared.stain.to_json()
    if prepared.normalized_stain is not None:
        training["normalized_stain"] = prepared.normalized_stain.to_json()
    p, reference = network.hyperparameters, prepared.stain_reference
    hexagonal = sum(section.layout == "hexagonal" for section in seen) * 2 > len(seen)
    config = ModelConfig(
        name=prepared.name,
        architecture=prepared.settings.architecture,
        hyperparameters={name: getattr(p, name) for name in names_of(type(p))},
        panel=prepared.panel,
        target=PUBLISHED_TARGET,
        tile_px=p.tile_px,
        mpp=float(prepared.mpp),
        pitch_um=float(np.median([section.pitch_um for section in seen])),
        neighborhood={
            "size": prepared.training.neighborhoods.shape[1],
            "layout": "hexagonal" if hexagonal else "square",
        },
        training=training,
        encoder=None
        if prepared.encoder is None
        else describe(prepared.encoder) | {"weights": "elsewhere"},
        stain_reference=None if reference is None else reference.to_json(),
    )
    shown = {"sections_sha256": sections_sha256(sections, config)}
    return replace(config, training=training | shown)


def trained_earlier(
    folder: Path, settings: TrainSettings, sections: Sequence[MeasuredSection]
) -> Model | None:
    """The model that the same training has left in its folder, which nobody else writes to.

    None where there is none, it is of other settings or sections, or of another start model or
    image encoder, of others under the same names too, or the training is not finished. What it
    started from may be gone by now.

    Raises
    ------
    InputError
        The model cannot be read.
    """
    if not is_trained(folder):
        return None
    remove_checkpoints(folder)  # of a run that was killed right after it wrote the model
    config = read_config(folder / MODEL_FOLDER)
    training = config.training
    same = same_settings(training.get("settings", {}), settings, config.panel)
    if not same or training.get("own_sections") != [s.name for s in sections]:
        return None
    shown = training.get("sections_sha256")  # which earlier versions did not record
    if shown is not None and shown != sections_sha256(sections, config):
        return None
    begun = _start_digests(settings, _start_if_there(settings))
    if begun["start_sha256"] is None and settings.start is not None:
        del begun["start_sha256"]
    if any(training[name] != sha256 for name, sha256 in begun.items() if name in training):
        return None
    if not _has_encoder_of(config, settings):
        return None
    return load_model_folder(folder / MODEL_FOLDER)


def _start_digests(settings: TrainSettings, start: ModelConfig | None) -> dict[str, str | None]:
    """Digests of what the settings name by a path, where another file may lie by now."""
    weights = settings.encoder_weights
    digests = {"start_sha256": None if start is None else start.weights.get("sha256")}
    if weights is not None:
        with suppress(OSError):  # it went away, which is no other file
            digests["encoder_weights_sha256"] = file_sha256(Path(weights))
    return digests


def _start_if_there(settings: TrainSettings) -> ModelConfig | None:
    """Config of the start model; None as well where it is not on this machine any more."""
    try:
        return start_config(settings)
    except InputError:
        return None


def _has_encoder_of(config: ModelConfig, settings: TrainSettings) -> bool:
    """Whether a model has the image encoder that settings name, as far as that can be found."""
    if config.encoder is None or config.takes_features or not settings.has_foreign_encoder:
        return True
    try:
        now = weights_digest(parse_key(str(settings.image_encoder)))
    except InputError:  # it is not on this machine any more
        return True
    return bool(config.encoder["sha256"] == now)


def _s(things: Sequence[object]) -> str:
    return "" if len(things) == 1 else "s"
