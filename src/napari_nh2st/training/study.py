"""Sections of a study: reading, checks, and their tiles."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.stain_normalization import StainColors, reference_of
from napari_nh2st.errors import InputError
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.slide import open_slide
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
from napari_nh2st.training.feature_store import digest
from napari_nh2st.training.slide_tiles import SlideTiles
from napari_nh2st.training.spot_features import SpotFeatures, features_for


@dataclass(frozen=True, eq=False)
class MeasuredSection:
    """A section whose slide and counts fit each other.

    Parameters
    ----------
    section
        The section's row in the sections table.
    spots
        Raw counts, with (x, y) in ``obsm["spatial"]`` after the section's fix.
    mpp
        µm/px of the slide at full resolution, (y, x).
    pitch_um
        Distance between neighboring spots in µm.
    layout
        Layout of the array, see :class:`~napari_nh2st.spots.SpotArray`.
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
        """Fingerprint of the slide, which tells it from another under the same path."""
        with open_slide(self.section.slide, mpp=self.mpp, image=self.section.image) as slide:
            return f"{slide.fingerprint} {slide.image}"

    @cached_property
    def key(self) -> str:
        """Key of the slide, as its file is now, and of the positions of the spots."""
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
        Accept positions that look turned or mirrored against the tissue.
    on_section
        Called with each section once it is checked.

    Raises
    ------
    InputError
        There is no section, or one is unusable; the message names it and says what is wrong.

    Examples
    --------
    .. code-block:: python

        sections = load_study(read_sections("sections.csv"))
        for section in sections:
            print(section.name, section.spots.shape, *section.warnings)
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
    stain: StainColors | None = None,
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
    stain
        Reference that the slide's stains are brought to; None for tiles as they are.

    Raises
    ------
    InputError
        A gene was not measured, not one of the tiles can be read, or the slide's two stains cannot
        be told apart.
    """
    # Smoothed over all spots there are, whether or not their tiles can be read.
    target = np.empty((measured.spots.n_obs, 0), np.float32)
    if panel:
        target = expression_target(measured.spots, panel)
    tiles: SlideTiles | SpotFeatures
    if features is None:
        tiles = SlideTiles(measured, tile_px, mpp, stain)
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
        stain=None if features is not None else reference_of(config),
    )
