"""Preparation of a training: everything that can be refused is refused before the first step."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_nh2st.analysis import StainProfile, fit_stain, slide_stain
from napari_nh2st.analysis.stain_normalization import REFERENCE, StainColors, reference_of
from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.encoders.onnx_models import normalization_notice
from napari_nh2st.model.folder import Model
from napari_nh2st.model.sources import load_model
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import PanelSettings, choose_panel, spcs_target
from napari_nh2st.tiles.given_features import GivenFeatures
from napari_nh2st.training.checks import sections_seen
from napari_nh2st.training.defaults import (
    ResolvedSettings,
    architecture_of,
    resolved_settings,
    start_notice,
)
from napari_nh2st.training.events import Preparing
from napari_nh2st.training.feature_store import digest, feature_store
from napari_nh2st.training.first_process import is_helper
from napari_nh2st.training.inputs import StudyTiles
from napari_nh2st.training.record import MODEL_FOLDER, is_trained
from napari_nh2st.training.run_state import RunFolder, remove_checkpoints, run_identity
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.slide_tiles import section_normalization
from napari_nh2st.training.split import set_aside
from napari_nh2st.training.spot_features import StudyFeatures, read_study_features
from napari_nh2st.training.start import (
    DEFAULT_MPP,
    DEFAULT_TILE_PX,
    features_key,
    image_encoder,
    neighbors_of,
)
from napari_nh2st.training.study import MeasuredSection, SectionTiles, section_tiles

_OTHER_MPP = 0.1
"""Relative difference of µm/px that is none."""
_STAIN_FORMAT = 1
"""Raised when the same slide gives another description of its stain than before."""


@dataclass(eq=False)
class PreparedTraining:
    """A training whose tiles are read.

    Parameters
    ----------
    sections
        All of them.
    settings
        With nothing left open.
    name
        Name of the model.
    panel
        Genes to learn.
    start
        Model to start from, if any.
    encoder
        Image encoder where another library builds it; None for NH2ST's own.
    mpp
        µm/px of the tiles.
    training, validation
        Spots to train on, and those that choose the epoch, if any.
    baseline
        (panel,) float32 mean of the target in training.
    stain
        Of the tissue under the spots; None where none can be read, and in a process that helps.
    placement
        Device and precision.
    folder, state
        Folder of the run and the checkpoints in it; None for a training in memory.
    notices
        Sentences the user should read.
    stain_reference
        What the slides' stains are brought to; None where they are seen as they are.
    normalized_stain
        As `stain`, of the slides brought to it.
    """

    sections: Sequence[MeasuredSection]
    settings: ResolvedSettings
    name: str
    panel: tuple[str, ...]
    start: Model | None
    encoder: ForeignEncoder | None
    mpp: float
    training: StudyTiles
    validation: StudyTiles | None
    baseline: NDArray[np.float32]
    stain: StainProfile | None
    placement: Placement
    folder: Path | None
    state: RunFolder | None
    notices: tuple[str, ...]
    stain_reference: StainColors | None = None
    normalized_stain: StainProfile | None = None

    @property
    def validation_names(self) -> tuple[str, ...]:
        """Names of the sections that choose the epoch."""
        return self.validation.names if self.validation is not None else ()


def prepare(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings,
    folder: Path | None,
    name: str | None,
) -> Generator[Preparing, None, PreparedTraining]:
    """Check everything and read the tiles, cheap things first.

    Parameters and errors are those of :func:`~napari_nh2st.training.train_events`.
    """
    if not sections:
        raise InputError("there is no section to train on")
    if folder is not None and is_trained(folder):  # which needs no start model any more
        remove_checkpoints(folder)  # of a run killed once it had written its model
        raise InputError(f"{folder} already holds a trained model; give another folder")
    placement = place(settings.device, settings.precision, settings.batch_size, None)
    start = None if settings.start is None else load_model(settings.start)
    config = None if start is None else start.config
    named = settings
    if config is not None and config.architecture in CATALOGUE:
        named = replace(settings, architecture=architecture_of(settings, config))
    in_training, aside, notice = set_aside(sections, named)
    notices = [notice] if notice else []
    notices += [warning for section in sections for warning in section.warnings]
    if config is not None and (seen := sections_seen(config, [s.name for s in aside])):
        notices.append(
            f"The start model {config.name} has learned from {', '.join(seen)}, on which the "
            "epoch is chosen here: validation scores are optimistic. Validate on a section that "
            "it has not seen."
        )
    panel, panel_notice = _panel(in_training, settings, start)
    notices.append(panel_notice)
    resolved = resolved_settings(settings, config, panel)
    notices += start_notice(resolved, config, panel)
    missing = [s.name for s in aside if not set(panel) <= set(s.spots.var_names)]
    if missing:
        raise InputError(f"validation section {missing[0]} lacks genes of the panel; leave it out")
    given: StudyFeatures | None = None
    if (key := features_key(settings, config)) is None:
        encoder = image_encoder(settings, start)
    else:
        given = read_study_features(
            [(s.section, s.mpp, s.centers) for s in (*in_training, *aside)],
            key,
            None if settings.has_foreign_encoder else config,
        )
        encoder = given.encoder
        notices += given.notices
    state = None
    if folder is not None:
        sha256 = None if config is None else str(config.weights.get("sha256"))
        if encoder is not None:
            sha256 = f"{sha256} {encoder.spec.sha256 if given is None else given.sha256}"
        # What the head starts from follows from the rest, and is no more asked when going on.
        asked = replace(resolved, head_start=settings.head_start)
        state = RunFolder(folder, run_identity(sections, panel, asked, sha256))
        if (folder / MODEL_FOLDER).exists() and state.load_last() is None:
            raise InputError(f"{folder} already holds a trained model; give another folder")
    tile_px = settings.tile_px or (config.tile_px if config else DEFAULT_TILE_PX)
    mpp = settings.mpp or (config.mpp if config else DEFAULT_MPP)
    if encoder is not None:
        tile_px, mpp = encoder.spec.tile_px, settings.mpp or encoder.spec.mpp or mpp
        notices += _encoder_notices(encoder, settings, mpp)
    reference = None
    if resolved.stain == "normalized" and given is None:
        reference = (reference_of(config) if config is not None else None) or REFERENCE
    neighbors = neighbors_of(settings, config)
    tiles = yield from _read_tiles(
        (*in_training, *aside),
        panel,
        tile_px=tile_px,
        mpp=mpp,
        neighborhood=1 + neighbors,
        needed=resolved.encoder == "whole" or resolved.adapter_rank > 0,
        given={} if given is None else given.of_section,
        stain=reference,
    )
    for section, cut in zip((*in_training, *aside), tiles, strict=True):
        if given is None and (lost := section.spots.n_obs - len(cut)):
            notices.append(f"{section.name}: {lost} spots lie on damaged parts and are left out.")
    learned = tiles[: len(in_training)]
    if settings.smoothing == "spcs":
        learned = [
            replace(cut, target=spcs_target(section.spots, panel)[cut.kept])
            for section, cut in zip(in_training, learned, strict=True)
        ]
    training = StudyTiles(learned)
    # Not where the model is written: a training that is stopped is to end in seconds.
    stain = normalized = None
    if not is_helper():
        stain = yield from _read_stain(sections)
        if reference is not None:
            normalized = yield from _read_stain(sections, reference)
    return PreparedTraining(
        sections=sections,
        settings=resolved,
        name=name or (folder.resolve().name if folder else "trained"),
        panel=panel,
        start=start,
        encoder=encoder,
        mpp=mpp,
        training=training,
        validation=StudyTiles(tiles[len(in_training) :]) if aside else None,
        # Of what is scored, however what is learned is smoothed. In float64: the mean of a hundred
        # thousand spots.
        baseline=np.concatenate([cut.target for cut in tiles[: len(in_training)]])
        .mean(0, dtype=np.float64)
        .astype(np.float32),
        stain=stain,
        normalized_stain=normalized,
        placement=placement,
        folder=folder,
        state=state,
        notices=tuple(notices),
        stain_reference=reference,
    )


def _encoder_notices(encoder: ForeignEncoder, settings: TrainSettings, mpp: float) -> list[str]:
    """Say at which µm/px an encoder gets its tiles, and whether it was trained at that.

    Raises
    ------
    InputError
        Tiles of another size are asked for than it takes.
    """
    spec = encoder.spec
    if spec.takes_features and settings.mpp is not None:
        raise InputError(
            f"mpp is {settings.mpp:g}, but features are of tiles of {spec.tile_px} px at "
            f"{spec.mpp:.4g} µm/px; leave it out"
        )
    if settings.tile_px not in (None, spec.tile_px):
        raise InputError(
            f"tile_px is {settings.tile_px}, but encoder {spec.key} takes tiles of {spec.tile_px} "
            "px; leave it out"
        )
    notices = normalization_notice(encoder)
    if spec.mpp is None and settings.mpp is None:
        notices.append(
            f"Encoder {spec.key} does not say at which µm/px it was trained: its tiles are read "
            f"at {mpp:g}. Give it with mpp, here or in the key."
        )
    elif spec.mpp is not None and abs(mpp / spec.mpp - 1) > _OTHER_MPP:
        notices.append(
            f"Encoder {spec.key} was trained at {spec.mpp:g} µm/px and gets tiles at {mpp:g}; its "
            "features may be worse at that resolution."
        )
    return notices


def _panel(
    sections: Sequence[MeasuredSection], settings: TrainSettings, start: Model | None
) -> tuple[tuple[str, ...], str]:
    """Choose the genes to learn; gives them, and a notice of how they were chosen."""
    chosen, whose = settings.panel, "the list"
    if chosen is None and start is not None:
        chosen, whose = PanelSettings(rule="given", genes=start.config.panel), "the start model"
    counts = {section.name: section.spots for section in sections}
    panel = choose_panel(counts, chosen, whose=whose)
    return panel.genes, f"Learning {panel.report}."


def _read_tiles(
    sections: Sequence[MeasuredSection],
    panel: Sequence[str],
    *,
    tile_px: int,
    mpp: float,
    neighborhood: int,
    needed: bool,
    given: Mapping[str, GivenFeatures],
    stain: StainColors | None,
) -> Generator[Preparing, None, list[SectionTiles]]:
    total = sum(section.spots.n_obs for section in sections)
    done = 0
    tiles = []
    for section in sections:
        yield Preparing("reading tiles", done, total)
        tiles.append(
            section_tiles(
                section,
                panel,
                tile_px=tile_px,
                mpp=mpp,
                neighborhood=neighborhood,
                features=given.get(section.name),
                stain=stain,
            )
        )
        if needed:  # rather now than within the first epoch
            _ = tiles[-1].tiles
        done += section.spots.n_obs
    yield Preparing("reading tiles", done, total)
    return tiles


def _read_stain(
    sections: Sequence[MeasuredSection], reference: StainColors | None = None
) -> Generator[Preparing, None, StainProfile | None]:
    """The stain of the tissue under the spots; None where no section has any that can be read.

    With a reference, that of the sections when they have been brought to it.
    """
    described = []
    for done, measured in enumerate(sections):
        yield Preparing("reading the stain", done, len(sections))
        try:
            described.append(_section_stain(measured, reference))
        except InputError:  # no tissue: what it looks like cannot be said, which is no obstacle
            continue
    yield Preparing("reading the stain", len(sections), len(sections))
    return fit_stain(described) if described else None


def _section_stain(measured: MeasuredSection, reference: StainColors | None) -> NDArray[np.float64]:
    """Description of the stain under the spots, (m, 6), kept for later trainings and folds."""
    content = {"stain format": _STAIN_FORMAT, "spots": measured.key}
    matrix = None
    if reference is not None:
        matrix = section_normalization(measured, reference)
        content["matrix"] = matrix.tolist()
    key = digest(content)
    if (kept := feature_store().get(key)) is not None:
        return kept["stain"].numpy()
    with open_slide(
        measured.section.slide, mpp=measured.mpp, image=measured.section.image
    ) as slide:
        described = slide_stain(slide, centers=measured.centers, matrix=matrix)
    feature_store().put(key, {"stain": torch.from_numpy(described)})
    return described
