"""Plan of a prediction, settled before it starts: genes, tiles, level, and notices.

What does not depend on the step is found once, as a :class:`Survey`; a :class:`Plan` has a step.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.inference.feature_grids import FeatureGrids, feature_notices, given_features
from napari_nh2st.inference.grids import Grids
from napari_nh2st.inference.notices import (
    StainFit,
    normalized_stain,
    scale_notices,
    slide_notices,
    stain_fit,
    whole_slide_notices,
)
from napari_nh2st.inference.nuclei_limit import why_no_nuclei
from napari_nh2st.inference.settings import PredictSettings, row_layout
from napari_nh2st.inference.source import TileSource, tile_source
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.folder import Model
from napari_nh2st.model.heads import Heads
from napari_nh2st.names import nearest_names
from napari_nh2st.prediction.rows import N_IMAGE_FEATURES, RowLayout
from napari_nh2st.prediction.schema import TissueNotes, TissueOrigin
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import (
    TileGrid,
    TissueMask,
    find_tissue,
    neighborhoods_in_phases,
)
from napari_nh2st.tiles.coverage import share_without_tile
from napari_nh2st.tiles.given_features import GivenFeatures
from napari_nh2st.tiles.grid import inside_region
from napari_nh2st.tiles.mask import scanned_area

if TYPE_CHECKING:
    from napari_nh2st.inference.int8 import Calibration

_Neighborhoods = tuple[NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True)
class Plan:
    """What a prediction will do.

    Parameters
    ----------
    genes
        Columns.
    grid
        Rows.
    tiles
        What is read and encoded: the rows first, then, where the context needs other tiles and the
        region leaves tissue out, the tissue's other tiles.
    neighborhoods
        Index and mask, (n, 9) each, of all ``tiles``; None where the context does without.
    whole_slide
        Whether values come from all ``tiles`` at once.
    source
        Where their pixels lie.
    identity
        What makes it another prediction if it changes.
    notices
        Sentences the user should read.
    stain_distance
        Distance of the slide's stain from what the model saw, see
        :func:`~napari_nh2st.analysis.stain_distance`; None where it is not known.
    tissue
        Where the tissue is from, and how much of it has no tile.
    """

    genes: tuple[str, ...]
    grid: TileGrid
    tiles: TileGrid
    neighborhoods: _Neighborhoods | None
    whole_slide: bool
    source: TileSource
    identity: dict[str, Any]
    notices: tuple[str, ...]
    stain_distance: float | None
    tissue: TissueNotes

    def identity_in(self, precision: str) -> dict[str, Any]:
        """The identity with a precision: results of two are never mixed."""
        return self.identity | {"precision": precision}


@dataclass(frozen=True)
class Survey:
    """What is known of a prediction before its step is.

    Parameters
    ----------
    slide, model, settings
        As for :func:`survey`.
    genes
        Columns.
    mask, tissue_origin
        Where tiles are laid, None for the whole slide; and where that is from.
    notices
        Sentences the user should read.
    stain_distance
        As in :class:`Plan`.
    calibration
        For int8; see :func:`~napari_nh2st.inference.int8.calibrated`.
    stain
        (3, 3) that brings the slide's stains to the model's reference, as of
        :class:`~napari_nh2st.inference.resample.Resampler`; None where tiles are seen as they are.
    given
        Features of the slide's tiles, for a model that takes them in the place of pixels.
    """

    slide: Slide
    model: Model
    settings: PredictSettings
    genes: tuple[str, ...]
    mask: TissueMask | None
    tissue_origin: TissueOrigin
    notices: tuple[str, ...]
    stain_distance: float | None
    calibration: "Calibration | None" = None
    given: GivenFeatures | None = None
    stain: NDArray[np.float32] | None = None

    @property
    def grids(self) -> Grids:
        """The grids that may be laid."""
        if self.given is not None:
            by_hand = self.mask if self.tissue_origin == "given" else None
            config, settings = self.model.config, self.settings
            return FeatureGrids(self.slide, config, settings, by_hand, self.given)
        return Grids(self.slide, self.model.config, self.settings, self.mask)

    @property
    def heads(self) -> Heads | None:
        """The model's heads; None where it has none, or they are not wanted."""
        return self.model.heads if self.settings.spread else None

    @property
    def layout(self) -> RowLayout:
        """What is computed of a tile."""
        count = 0 if self.heads is None else self.heads.count
        return row_layout(len(self.genes), count, self.settings)

    @property
    def n_columns(self) -> int:
        """Numbers that are computed of a tile."""
        return self.layout.n_columns


def survey(
    slide: Slide,
    model: Model,
    settings: PredictSettings,
    tissue: TissueMask | None = None,
    *,
    with_stain: bool = True,
) -> Survey:
    """Settle genes, and look at the slide: at its tissue and its stain.

    Parameters
    ----------
    slide, model, settings
        What is to be predicted, with what, and how.
    tissue
        A mask made by hand; found by default.
    with_stain
        Whether the stain is looked at.

    Raises
    ------
    InputError
        The slide does not know its µm/px or is not brightfield, a gene is not in the panel, or the
        model predicts from the whole slide and is asked for another pitch than it knows.
    """
    config = model.config
    if slide.mpp is None:
        raise InputError(
            f"{slide.path}: its µm/px is not recorded. Give it (--mpp on the command line, mpp= in "
            "Python): scans at 20× have about 0.5, at 40× about 0.25."
        )
    if not slide.brightfield and not settings.any_stain:
        raise InputError(
            f"{slide.path} is not a brightfield H&E slide ({slide.brightfield_reason}); "
            "the model would see what it never saw. Allow any stain to predict it all the same."
        )
    genes = chosen_genes(settings.genes, config.panel)
    if settings.nuclei and (problem := why_no_nuclei(config)):
        raise InputError(f"{problem}; leave nuclei out")
    given = given_features(slide, config, settings.features)
    notices = []
    mask = tissue
    origin: TissueOrigin = "all tiles" if tissue is None else "given"
    if mask is None and given is not None:
        origin = "features"
    elif mask is None and settings.tissue_only:
        if slide.brightfield:
            mask, origin = find_tissue(slide), "found"
        else:
            notices.append(
                "Tissue is not looked for on this kind of slide: all tiles are predicted."
            )
    if mask is None:
        mask = scanned_area(slide)
    if settings.head_values and model.heads is None:
        notices.append("The model has no heads of a cross-validation whose values could be kept.")
    if config.reach == "slide":
        notices += whole_slide_notices(config, settings, origin)
    matrix, unknown_stain, centers = None, None, None
    if given is None:
        matrix, unknown_stain = normalized_stain(slide, config, mask if origin == "found" else None)
    elif origin == "features":
        centers = given.centers
    stain = StainFit()
    if with_stain:
        stain = stain_fit(slide, config, mask, centers, matrix=matrix)
    notices = [
        *_untrained(config),
        *slide_notices(slide),
        *notices,
        *(
            scale_notices(slide.mpp, settings.pitch_um or config.pitch_um, config)
            if given is None
            else feature_notices(given, slide, config, settings)
        ),
        *(notice for notice in (stain.notice, unknown_stain) if notice),
    ]
    return Survey(
        slide,
        model,
        settings,
        genes,
        mask,
        origin,
        tuple(notices),
        stain.distance,
        given=given,
        stain=matrix,
    )


def plan_prediction(found: Survey, divisions: int, *notices: str) -> Plan:
    """Settle tiles and level.

    Parameters
    ----------
    found
        Of the slide.
    divisions
        Steps in a pitch.
    notices
        Further sentences the user should read.

    Raises
    ------
    InputError
        There is no tissue.
    """
    slide, config = found.slide, found.model.config
    assert slide.mpp is not None
    grid, tiles, around = _grids(found, divisions)
    about_tissue = TissueNotes(origin=found.tissue_origin)
    if found.mask is not None and found.tissue_origin in ("found", "given"):
        about_tissue["sha256"] = found.mask.sha256
        if not found.settings.region:
            about_tissue["share_without_tile"] = share_without_tile(grid, found.mask)
    source = tile_source(slide, slide.mpp, tiles.centers, config.tile_px, config.mpp)
    identity = {
        **subject_identity(slide, found.model),
        "genes": list(found.genes),
        "tiles": _tiles_identity(tiles, config.reach != "tile"),
    }
    if found.given is not None:
        identity["features"] = found.given.sha256
    if found.heads is not None:
        about = config.heads or {}
        identity["heads"] = about.get("sha256") or _sha256(found.heads.tensors())
    if found.layout.n_heads:
        identity["head_values"] = True
    if found.layout.has_image:
        identity["image_features"] = N_IMAGE_FEATURES
    if found.layout.has_nuclei:
        identity["nuclei"] = True
    if found.stain is not None:
        identity["stain"] = found.stain.tolist()
    if found.calibration is not None:
        identity["calibration"] = found.calibration.tiles_sha256
    return Plan(
        found.genes,
        grid,
        tiles,
        around,
        config.reach == "slide",
        source,
        identity,
        (*found.notices, *notices),
        found.stain_distance,
        about_tissue,
    )


def subject_identity(slide: Slide, model: Model) -> dict[str, Any]:
    """What of a slide and a model makes it another prediction if it changes."""
    config = model.config
    return {
        # What the fingerprint does not see, such as a repair, counts as well.
        "slide": [slide.fingerprint, slide.file_state()],
        "mpp": list(slide.mpp or ()),
        "model": config.weights.get("sha256") or _sha256(model.network.state_dict()),
        "tile": [config.tile_px, config.mpp],
        **({} if config.encoder is None else {"encoder": config.encoder["sha256"]}),
        # The same weights predict otherwise in another context.
        "network": [config.architecture, dict(config.hyperparameters), dict(config.neighborhood)],
    }


def _grids(found: Survey, divisions: int) -> tuple[TileGrid, TileGrid, _Neighborhoods | None]:
    """The tiles to predict, those with whatever else they need, and their neighborhoods."""
    config, slide = found.model.config, found.slide
    if config.reach == "tile":
        grid = found.grids.grid(divisions)
        return grid, grid, None
    tiles = found.grids.tiles(divisions)
    around = None
    if config.reach == "neighborhood":
        centers_um, size = tiles.centers * np.asarray(slide.mpp), int(config.neighborhood["size"])
        around = neighborhoods_in_phases(centers_um, tiles.phases, size)
    polygons = found.settings.polygons
    if not polygons:
        return tiles, tiles, around
    # A tile's prediction must not change with the region: its neighbors are the tissue's. They
    # are found first and renumbered then, since of tiles equally far the first is taken.
    inside = inside_region(tiles.centers, tuple(map(np.array, polygons)))
    if not inside.any():
        raise InputError(f"{slide.path}: no tile with tissue has its center in the region.")
    order = np.argsort(~inside, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    if around is not None:
        index, filled = around
        around = number[index[order]], filled[order]
    return tiles.subset(order[: inside.sum()]), tiles.subset(order), around


def _tiles_identity(tiles: TileGrid, with_neighbors: bool) -> Any:
    """What of the tiles changes the value of one of them.

    A region does not: what was predicted in one is taken over into the next. Which other tiles
    there are matters only to a model that looks at neighbors, and it looks at all the tissue's.
    """
    lattice = [list(tiles.step_px), list(tiles.origin), tiles.layout, list(tiles.array_shape)]
    if not with_neighbors:
        return lattice
    order = np.lexsort(tiles.array.T)
    centers = hashlib.sha256(np.ascontiguousarray(tiles.centers[order]).tobytes()).hexdigest()
    return [lattice, tiles.divisions, centers]


def chosen_genes(wanted: tuple[str, ...] | None, panel: tuple[str, ...]) -> tuple[str, ...]:
    """The genes to predict, each once, in the order wanted.

    Raises
    ------
    InputError
        One is not in the panel; the nearest names are given.
    """
    if wanted is None:
        return panel
    known = set(panel)
    for gene in wanted:
        if gene not in known:
            near = nearest_names(gene, panel)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise InputError(f"gene {gene!r} is not in the model's panel of {len(panel)}{hint}")
    return tuple(dict.fromkeys(wanted))


def _sha256(state: Mapping[str, Tensor]) -> str:
    """Tells weights apart that were never saved, in this process and the next."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _untrained(config: ModelConfig) -> tuple[str, ...]:
    return () if config.trained else (f"{config.name}: {config.training['summary']}",)
