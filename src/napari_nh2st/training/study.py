"""Sections of a study: reading, checks, and their tiles."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.source import tile_source
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.remote import SlidePath
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.bulk import BulkReader
from napari_nh2st.slide.images import ImageChoice
from napari_nh2st.spots import (
    Section,
    SectionCheck,
    check_section,
    expression_target,
    spot_array,
)
from napari_nh2st.spots.positions import centers
from napari_nh2st.spots.sections import section_spots
from napari_nh2st.tiles.given_features import GivenFeatures
from napari_nh2st.tiles.neighborhoods import array_spacing, neighborhoods
from napari_nh2st.training.feature_store import digest, feature_store
from napari_nh2st.training.spot_features import SpotFeatures, features_for

_TILES_A_READ = 32
_FORMAT = 1
"""Raised when the same slide gives other tiles than before."""


@dataclass(frozen=True, eq=False)
class MeasuredSection:
    """A section whose slide and counts fit each other.

    Parameters
    ----------
    section
        Its row in the sections table.
    spots
        Raw counts, (x, y) in ``obsm["spatial"]``, where the section's fix puts them.
    mpp
        µm/px of the slide at full resolution, (y, x).
    pitch_um
        Distance between neighboring spots.
    layout
        ``"square"``, ``"hexagonal"`` and so on, of the array.
    warnings
        Warnings of the checks.
    """

    section: Section
    spots: AnnData
    mpp: tuple[float, float]
    pitch_um: float
    layout: str
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The section's id."""
        return self.section.section_id

    @property
    def donor(self) -> str:
        """The donor's id."""
        return self.section.donor_id

    @property
    def centers(self) -> NDArray[np.float64]:
        """(spots, 2) positions (y, x) in full-resolution pixels."""
        return centers(self.spots).copy()

    @cached_property
    def fingerprint(self) -> str:
        """Tells the slide from another under the same path."""
        with open_slide(self.section.slide, mpp=self.mpp, image=self.section.image) as slide:
            return f"{slide.fingerprint} {slide.image}"

    @cached_property
    def key(self) -> str:
        """Names the slide, as its file is now, and the positions of the spots."""
        with open_slide(self.section.slide, mpp=self.mpp, image=self.section.image) as slide:
            content = {
                # What the fingerprint does not see, such as a repair, counts as well.
                "slide": [slide.fingerprint, slide.file_state(), slide.image, *self.mpp],
                "centers": hashlib.sha256(self.centers.tobytes()).hexdigest(),
            }
        return digest(content)


def load_study(
    sections: Sequence[Section],
    *,
    trust_positions: bool = False,
    on_section: Callable[[MeasuredSection], None] | None = None,
) -> tuple[MeasuredSection, ...]:
    """Read and check the sections, before anything is trained.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.spots.read_sections`.
    trust_positions
        Go on where the tissue says that positions are turned or mirrored.
    on_section
        Called with each section once it is checked.

    Raises
    ------
    InputError
        Naming the section and what is wrong with it, or there is none.
    """
    if not sections:
        raise InputError("There is no section to train on; the sections table names none")
    measured = []
    for section in sections:
        with open_slide(section.slide, mpp=section.mpp, image=section.image) as slide:
            spots = section_spots(section, slide)
            check = check_section(
                spots, slide, name=section.section_id, trust_positions=trust_positions
            )
        measured.append(measured_section(section, spots, check))
        if on_section is not None:
            on_section(measured[-1])
    return tuple(measured)


def measured_section(section: Section, spots: AnnData, check: SectionCheck) -> MeasuredSection:
    """A section from its spots and what :func:`~napari_nh2st.spots.check_section` found."""
    array = spot_array(spots)
    pitch = array.pitch_px * float(np.sqrt(check.mpp[0] * check.mpp[1]))
    return MeasuredSection(section, spots, check.mpp, pitch, array.layout, check.warnings)


@dataclass(frozen=True, eq=False)
class SectionTiles:
    """A section as a network takes it: one row a spot.

    Parameters
    ----------
    name, donor
        Name and donor of the section.
    read
        Gives the tiles: (n, tile, tile, 3) uint8, the spot in the middle, at the model's µm/px; or
        (n, d) float32 features of the tiles that the spots lie in.
    target
        (n, panel) float32 expression that is to be predicted.
    centers_um
        (n, 2) positions (y, x) in µm.
    neighborhoods, mask
        (n, 9) indices of the nearest spots, itself first, and which of them there are.
    kept
        (n,) rows of the section's spots; a spot whose tile cannot be read is not among them.
    key
        Names the pixels of the tiles; None where they are not those of a slide.
    """

    name: str
    donor: str
    read: Callable[[], NDArray[Any]]
    target: NDArray[np.float32]
    centers_um: NDArray[np.float64]
    neighborhoods: NDArray[np.int64]
    mask: NDArray[np.bool_]
    kept: NDArray[np.int64]
    key: str | None = None

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def places(self) -> NDArray[np.float32]:
        """(n, 2) positions (y, x) in units of the pitch of the section's array."""
        return (self.centers_um / array_spacing(self.centers_um)).astype(np.float32)

    @cached_property
    def tiles(self) -> NDArray[Any]:
        """(n, tile, tile, 3) uint8 or (n, d) float32, read when they are first asked for."""
        return self.read()


def section_tiles(
    measured: MeasuredSection,
    panel: Sequence[str],
    *,
    tile_px: int,
    mpp: float,
    neighborhood: int = 9,
    features: GivenFeatures | None = None,
) -> SectionTiles:
    """The tiles of a section's spots and their targets.

    Tiles are read and resampled as a prediction does it, so that a model sees later what it was
    trained on. They are read at once, unless it is known from an earlier time which of them can
    be, and then stay in memory: 224 px take 0.15 MB a spot.

    Parameters
    ----------
    measured
        From :func:`load_study`.
    panel
        Genes of the target, in order; none where the tiles alone are wanted.
    tile_px, mpp
        Side of a tile and its µm/px.
    neighborhood
        Spots in a neighborhood, itself counted.
    features
        Features of the slide's tiles: each spot gets those of the tile that it lies in. None for
        pixels.

    Raises
    ------
    InputError
        A gene was not measured, or not one of the tiles can be read.
    """
    # Smoothed over all spots there are, whether or not their tiles can be read.
    target = np.empty((measured.spots.n_obs, 0), np.float32)
    if panel:
        target = expression_target(measured.spots, panel)
    tiles: _SlideTiles | SpotFeatures
    if features is None:
        tiles = _SlideTiles(measured, tile_px, mpp)
    else:
        tiles = SpotFeatures(measured.centers, features)
    kept = np.flatnonzero(tiles.readable)
    if not len(kept):
        raise InputError(
            f"{measured.name}: none of the spots' tiles can be read from its slide"
            if features is None
            else f"{measured.name}: no spot lies in one of the tiles of {features.path}"
        )
    centers_um = measured.centers[kept] * np.asarray(measured.mpp)
    index, mask = neighborhoods(centers_um, neighborhood)
    return SectionTiles(
        measured.name,
        measured.donor,
        tiles.read,
        target[kept],
        centers_um,
        index,
        mask,
        kept,
        tiles.key,
    )


def tiles_for(measured: MeasuredSection, config: ModelConfig, genes: Sequence[str]) -> SectionTiles:
    """The tiles of a section's spots as a model takes them, and the targets of some genes.

    Raises
    ------
    InputError
        As :func:`section_tiles`; or the model takes features that another tool computed, and there
        are none of the section, or others.
    """
    features = None
    if config.takes_features:
        features = features_for(measured.section, measured.mpp, config)
    return section_tiles(
        measured,
        genes,
        tile_px=config.tile_px,
        mpp=config.mpp,
        neighborhood=int(config.neighborhood["size"]),
        features=features,
    )


class _SlideTiles:
    """Tiles of a section's spots that can be read, and which these are.

    Where all of them can be, that is remembered. A part that cannot be read may be read another
    time, from a share or a server, so that of such a section nothing is kept.
    """

    def __init__(self, measured: MeasuredSection, tile_px: int, mpp: float) -> None:
        self._measured = measured
        self._tile_px, self._mpp = tile_px, mpp
        self._tiles: NDArray[np.uint8] | None = None
        self.readable = np.ones(measured.spots.n_obs, bool)
        key = digest({"format": _FORMAT, "spots": measured.key, "tile": [tile_px, mpp]})
        self.key: str | None = key
        store = feature_store()
        if store.get(key) is not None:
            return
        self._tiles, self.readable = self._read()
        if self.readable.all():
            store.put(key, {"readable": torch.from_numpy(self.readable)})
        else:
            self.key = None

    def read(self) -> NDArray[np.uint8]:
        tiles, self._tiles = self._tiles, None  # whoever asks for them keeps them
        if tiles is None:
            tiles, readable = self._read()
            if lost := int((self.readable & ~readable).sum()):
                raise InputError(
                    f"{self._measured.name}: {lost} tiles that could be read before cannot be "
                    "read any more. Start again to go on without them"
                )
        return tiles if self.readable.all() else tiles[self.readable]

    def _read(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        measured = self._measured
        return read_tiles(
            measured.section.slide,
            measured.mpp,
            measured.centers,
            tile_px=self._tile_px,
            mpp=self._mpp,
            image=measured.section.image,
        )


def read_tiles(
    slide_path: SlidePath,
    slide_mpp: tuple[float, float],
    centers: NDArray[np.float64],
    *,
    tile_px: int,
    mpp: float,
    threads: int = 2,
    image: ImageChoice = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Tiles of a slide around given centers.

    Parameters
    ----------
    slide_path, slide_mpp
        The slide and its µm/px at full resolution, (y, x).
    centers
        (n, 2) positions (y, x) in full-resolution pixels.
    tile_px, mpp
        Side of a tile and its µm/px.
    threads
        Number of threads that decode the slide.
    image
        Which image of the slide's file.

    Returns
    -------
    tiles
        (n, tile_px, tile_px, 3) uint8; white beyond the slide.
    readable
        (n,) bool, False where a tile lies on a damaged part.
    """
    tiles = np.empty((len(centers), tile_px, tile_px, 3), np.uint8)
    readable = np.ones(len(centers), bool)
    # From top to bottom, so that pieces of the slide are decoded once.
    order = np.lexsort((centers[:, 1], np.round(centers[:, 0] * slide_mpp[0] / (tile_px * mpp))))
    with (
        open_slide(slide_path, mpp=slide_mpp, image=image) as slide,
        ThreadPoolExecutor(threads) as pool,
    ):
        source = tile_source(slide, slide_mpp, centers, tile_px, mpp)
        reader = BulkReader(slide.levels[source.level], source.top_left, source.size)
        resample = Resampler(source.extent, tile_px, torch.device("cpu"))
        chunks = [order[at : at + _TILES_A_READ] for at in range(0, len(order), _TILES_A_READ)]
        for batch in pool.map(reader.read, chunks):
            resampled = resample(torch.from_numpy(batch.pixels))
            if resampled.is_floating_point():
                resampled = resampled.round().clamp(0, 255).to(torch.uint8)
            tiles[batch.index] = resampled.numpy()
            readable[batch.index[list(batch.failures)]] = False
    return tiles, readable
