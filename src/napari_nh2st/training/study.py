"""Sections of a study: reading, checks, and their tiles."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.source import tile_source
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
from napari_nh2st.tiles import neighborhoods

_TILES_A_READ = 32


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
    tiles
        (n, tile, tile, 3) uint8, the spot in the middle, at the model's µm/px.
    target
        (n, panel) float32 expression that is to be predicted.
    centers_um
        (n, 2) positions (y, x) in µm.
    neighborhoods, mask
        (n, 9) indices of the nearest spots, itself first, and which of them there are.
    kept
        (n,) rows of the section's spots; a spot whose tile cannot be read is not among them.
    """

    name: str
    donor: str
    tiles: NDArray[np.uint8]
    target: NDArray[np.float32]
    centers_um: NDArray[np.float64]
    neighborhoods: NDArray[np.int64]
    mask: NDArray[np.bool_]
    kept: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tiles)


def section_tiles(
    measured: MeasuredSection,
    panel: Sequence[str],
    *,
    tile_px: int,
    mpp: float,
    neighborhood: int = 9,
) -> SectionTiles:
    """Cut the tiles of a section's spots and compute their targets.

    Tiles are read and resampled as a prediction does it, so that a model sees later what it was
    trained on. They stay in memory: 224 px take 0.15 MB a spot.

    Parameters
    ----------
    measured
        From :func:`load_study`.
    panel
        Genes of the target, in order.
    tile_px, mpp
        Side of a tile and its µm/px.
    neighborhood
        Spots in a neighborhood, itself counted.

    Raises
    ------
    InputError
        A gene was not measured, or not one of the tiles can be read.
    """
    # Smoothed over all spots there are, whether or not their tiles can be read.
    target = expression_target(measured.spots, panel)
    tiles, readable = read_tiles(
        measured.section.slide,
        measured.mpp,
        measured.centers,
        tile_px=tile_px,
        mpp=mpp,
        image=measured.section.image,
    )
    kept = np.flatnonzero(readable)
    if not len(kept):
        raise InputError(f"{measured.name}: none of the spots' tiles can be read from its slide")
    centers_um = measured.centers[kept] * np.asarray(measured.mpp)
    index, mask = neighborhoods(centers_um, neighborhood)
    return SectionTiles(
        measured.name,
        measured.donor,
        tiles if len(kept) == len(tiles) else tiles[kept],
        target[kept],
        centers_um,
        index,
        mask,
        kept,
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
