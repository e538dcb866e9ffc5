"""Features that another tool computed for a slide's tiles; needs no torch."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.key import FEATURES, EncoderKey, parse_key
from napari_nh2st.shown_text import plain_number
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.feature_files import StoredFeatures, is_zarr, read_stored

SUFFIXES = (".h5", ".hdf5", ".zarr")
"""Of a slide's file in a folder of features."""

_TILE_PX = 8, 4096
"""Least and largest side of a tile in pixels."""

LARGEST_DIFFERENCE = 0.2
"""Relative difference of the side of tiles in µm that is refused. Scanners of one nominal
magnification differ by some 12 %, and tools that go by the magnification take the same pixels."""


@dataclass(frozen=True, eq=False)
class GivenFeatures:
    """Features of a slide's tiles, checked against the slide.

    Parameters
    ----------
    path
        File they were read from.
    encoder
        Name of the encoder that computed them; "" if unknown.
    features
        (n, d) features of the tiles, all finite.
    centers
        (n, 2) centers (y, x) of the tiles in full-resolution pixels, all on the slide.
    side_px, step_px
        Side of a tile, and distance between tiles, in full-resolution pixels.
    tile_px, mpp
        Side of a tile in the encoder's pixels, and µm/px of these.
    notices
        Sentences the user should read.
    """

    path: Path
    encoder: str
    features: NDArray[np.floating]
    centers: NDArray[np.float64]
    side_px: float
    step_px: float
    tile_px: int
    mpp: float
    notices: tuple[str, ...]

    @property
    def n_features(self) -> int:
        """Numbers of a tile."""
        return int(self.features.shape[1])

    @property
    def tile_um(self) -> float:
        """Side of a tile in µm."""
        return self.tile_px * self.mpp

    @property
    def sha256(self) -> str:
        """Digest of features and positions."""
        digest = hashlib.sha256()
        for values in (self.features, self.centers):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def rows(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features (m, d) of some tiles."""
        return np.asarray(self.features[index], np.float32)

    def nearest(self, centers: NDArray[np.floating]) -> NDArray[np.int64]:
        """The tile in which each of (m, 2) positions (y, x) lies, the one with the nearest center.

        Returns
        -------
        ndarray
            (m,) index of the tile; -1 where a position lies in none.
        """
        # In the larger of the distances along both axes a tile is a ball.
        distance, tile = KDTree(self.centers).query(centers, p=np.inf)
        return np.where(distance <= self.side_px / 2, tile, -1)


def features_key(text: str) -> EncoderKey:
    """The key of features from what a user gives: a file or folder, with or without options.

    Raises
    ------
    InputError
        An option is unknown.
    """
    return parse_key(f"{FEATURES}:{text}")


def with_whole_path(text: str) -> str:
    """What a user gives, as :func:`features_key` takes it, so that it holds in another folder."""
    key = features_key(text)
    whole = EncoderKey(FEATURES, str(key.path.absolute()), key.options)
    return str(whole).removeprefix(f"{FEATURES}:")


def features_place(key: EncoderKey, slide: Slide) -> Path:
    """The file of a slide's features.

    Parameters
    ----------
    key
        Names the file, or a folder in which files have their slides' names.
    slide
        The slide.

    Raises
    ------
    InputError
        It is not there.
    """
    place = key.path
    if not place.exists():
        raise InputError(f"there is no file of features {place}")
    if not place.is_dir() or place.suffix.lower() in SUFFIXES or is_zarr(place):
        return place
    # Of slide.ome.tif, tools take either part for its name.
    stems = dict.fromkeys((slide.path.stem, slide.path.name.partition(".")[0]))
    found = [place / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]
    for path in found:
        if path.exists():
            return path
    raise InputError(
        f"{place} has no features of {slide.path.name}: neither {found[0].name} nor "
        f"{found[len(SUFFIXES) - 1].name}"
    )


def key_of_file(key: EncoderKey, path: Path | None) -> EncoderKey:
    """The key of a section's features.

    Parameters
    ----------
    key
        Of the study: its options hold for all files, and its folder where a section names none.
    path
        The section's own file; None without.

    Raises
    ------
    InputError
        Neither is given.
    """
    if path is not None:
        return EncoderKey(FEATURES, str(path), key.options)
    if key.place:
        return key
    raise InputError(
        "there is no file of features; name it in the column features of the sections table, or "
        "give a folder in which the files have their slides' names, as in features:FOLDER"
    )


def read_given_features(key: EncoderKey, slide: Slide, wanted: str | None = None) -> GivenFeatures:
    """Read the features of a slide's tiles.

    Parameters
    ----------
    key
        Names the file, or a folder with a file for each slide, see :func:`features_place`; its
        options override what the file says.
    slide
        The slide; its µm/px must be known.
    wanted
        Name of the encoder to take if a store holds the features of several.

    Raises
    ------
    InputError
        The file is missing, has another layout, or belongs to another slide; says which part.
    """
    path = features_place(key, slide)
    if slide.mpp is None:
        raise InputError(f"{slide.path}: its µm/px is not recorded: give it")
    stored = read_stored(path, key.options.get("table"), key.options.get("name") or wanted)
    n = _checked_tiles(stored, path)
    notices = []
    _check_slide(stored, slide, path)
    if stored.slide_name and stored.slide_name not in (slide.path.stem, slide.path.name):
        notices.append(
            f"The features in {path.name} say that they belong to {stored.slide_name}; the slide "
            f"is {slide.path.name}."
        )
    step = stored.step_px or _nearest_step(stored.corners) or stored.side_px
    side = stored.side_px or _said_side(key, slide) or step
    if side is None or step is None:
        raise InputError(
            f"{path} does not say how large its tiles are; give the size, as in "
            f"{path.name}?tile_px=256&mpp=0.5"
        )
    if stored.side_px is None and _said_side(key, slide) is None:
        notices.append(
            f"{path.name} does not say how large its tiles are: the distance between them is "
            f"taken, {side:g} px of the slide. Give the size, as in "
            f"{path.name}?tile_px=256&mpp=0.5."
        )
    tile_px = round(key.number("tile_px") or stored.tile_px or side)
    if not _TILE_PX[0] <= tile_px <= _TILE_PX[1]:
        raise InputError(
            f"{path}: its tiles have {tile_px} px a side; from {_TILE_PX[0]} to {_TILE_PX[1]} are "
            "possible"
        )
    slide_mpp = float(np.sqrt(slide.mpp[0] * slide.mpp[1]))
    mpp = side * slide_mpp / tile_px
    said_mpp = key.number("mpp")
    if said_mpp is not None and abs(mpp / said_mpp - 1) > LARGEST_DIFFERENCE:
        raise InputError(
            f"{path}: tiles of {side:g} px of the slide, at {slide_mpp:.4g} µm/px, make tiles of "
            f"{tile_px} px at {mpp:.4g} µm/px, and not at {said_mpp:g}. Is the slide's µm/px right?"
        )
    centers = stored.corners[:, ::-1] + side / 2
    finite = np.isfinite(stored.features).all(1)
    inside = (centers < slide.shape).all(1)
    if lost := int((~finite).sum()):
        notices.append(f"{path.name}: {lost:,} of {n:,} tiles have features that are not finite.")
    if lost := int((finite & ~inside).sum()):
        notices.append(
            f"{path.name}: {lost:,} of {n:,} tiles have their center beyond the slide's edge and "
            "are left out."
        )
    kept = finite & inside
    if not kept.any():
        raise InputError(f"{path}: none of its {n:,} tiles can be used. {' '.join(notices)}")
    return GivenFeatures(
        path,
        key.options.get("name") or stored.encoder,
        stored.features if kept.all() else stored.features[kept],
        centers if kept.all() else centers[kept],
        float(side),
        float(step),
        tile_px,
        mpp,
        tuple(notices),
    )


def check_same_kind(
    given: GivenFeatures, encoder: str, n_features: int, tile_um: float, whose: str
) -> tuple[str, ...]:
    """See that features are of the kind that a model, or another section, has.

    Parameters
    ----------
    given
        The features.
    encoder
        Name of the wanted encoder; "" where it is not known.
    n_features
        Numbers of a tile.
    tile_um
        Side of a tile in µm.
    whose
        Who wants them, as the subject of a sentence: "the model bc".

    Returns
    -------
    tuple of str
        Sentences on what cannot be checked.

    Raises
    ------
    InputError
        They are of another encoder, another length, or of tiles of another size.
    """
    own = given.encoder or "an encoder that it does not name"
    wanted = encoder or "an encoder without a name"
    if given.n_features != n_features:
        raise InputError(
            f"{given.path} has {given.n_features} features of a tile, of {own}; {whose} takes "
            f"{n_features}, of {wanted}"
        )
    if encoder and given.encoder and not _same_name(encoder, given.encoder):
        raise InputError(
            f"{given.path} has features of {own}; {whose} takes those of {wanted}. If they are the "
            f"same by another name, say so: {given.path.name}?name={encoder}"
        )
    if abs(given.tile_um / tile_um - 1) > LARGEST_DIFFERENCE:
        raise InputError(
            f"{given.path} has features of tiles of {given.tile_um:.4g} µm; {whose} takes tiles of "
            f"{tile_um:.4g} µm"
        )
    if not given.encoder and encoder:
        return (
            f"{given.path.name} does not say which encoder computed its features; {whose} takes "
            f"those of {wanted}.",
        )
    return ()


def _same_name(one: str, other: str) -> bool:
    first, second = ("".join(filter(str.isalnum, name.lower())) for name in (one, other))
    return first == second


def _checked_tiles(stored: StoredFeatures, path: Path) -> int:
    """Number of tiles, whose features and coordinates fit each other."""
    features, corners = stored.features, stored.corners
    if features.ndim != 2 or features.dtype.kind != "f":
        raise InputError(
            f"{path}: features are {features.dtype} of shape {features.shape}; they must be "
            "floating-point numbers (tiles, features)"
        )
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise InputError(
            f"{path}: coordinates have shape {corners.shape}; they must be (tiles, 2), x and y"
        )
    if len(features) != len(corners):
        raise InputError(
            f"{path} has features of {len(features):,} tiles and coordinates of {len(corners):,}"
        )
    if not features.size:
        raise InputError(f"{path} has no tiles")
    return len(features)


def _check_slide(stored: StoredFeatures, slide: Slide, path: Path) -> None:
    """See that tiles are those of a slide."""
    height, width = slide.shape
    if stored.slide_shape is not None and stored.slide_shape != (height, width):
        raise InputError(
            f"{path} is of a slide of {stored.slide_shape[1]:,} × {stored.slide_shape[0]:,} px; "
            f"{slide.path.name} has {width:,} × {height:,}. Is it the file of another slide?"
        )
    x, y = stored.corners.T
    outside = ~((x < width) & (y < height) & (x >= -width) & (y >= -height))
    if count := int(outside.sum()):
        first = stored.corners[outside.argmax()]
        raise InputError(
            f"{path}: {count:,} of {len(outside):,} tiles lie outside of {slide.path.name} "
            f"({width:,} × {height:,} px), the first at x {plain_number(first[0])}, y "
            f"{plain_number(first[1])}. Is it the file of another slide?"
        )


def _nearest_step(corners: NDArray[np.float64]) -> float | None:
    """Usual distance of a tile to the nearest other; None of a single one."""
    if len(corners) < 2:
        return None
    distance = float(np.median(KDTree(corners).query(corners, k=[2])[0]))
    return distance or None


def _said_side(key: EncoderKey, slide: Slide) -> float | None:
    """Side of a tile in full-resolution pixels, as a key's options have it."""
    tile_px, mpp = key.number("tile_px"), key.number("mpp")
    if tile_px is None or mpp is None or slide.mpp is None:
        return None
    return tile_px * mpp / float(np.sqrt(slide.mpp[0] * slide.mpp[1]))


def read_for_model(key: EncoderKey, slide: Slide, config: ModelConfig) -> GivenFeatures:
    """Read the features that a model takes.

    Parameters
    ----------
    key, slide
        As for :func:`read_given_features`.
    config
        Of a model that takes features.

    Raises
    ------
    InputError
        As :func:`read_given_features` and :func:`check_same_kind`.
    """
    assert config.encoder is not None
    name = str(config.encoder["recipe"].get("name", ""))
    given = read_given_features(key, slide, name or None)
    n_features = int(config.encoder["n_features"])
    more = check_same_kind(given, name, n_features, config.tile_um, f"the model {config.name}")
    return replace(given, notices=(*given.notices, *more))
