"""Features that another tool computed, at the spots of sections."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.base import EncoderSpec
from napari_nh2st.model.encoders.features_encoder import FeaturesEncoder
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.encoders.key import FEATURES, EncoderKey, parse_key
from napari_nh2st.model.encoders.readers import build_described
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import Section
from napari_nh2st.tiles.given_features import (
    GivenFeatures,
    check_same_kind,
    key_of_file,
    read_for_model,
    read_given_features,
)


class SpotFeatures:
    """Features of the tiles that spots lie in.

    Parameters
    ----------
    centers
        (spots, 2) positions (y, x) in full-resolution pixels.
    given
        Features of the slide's tiles.

    Attributes
    ----------
    readable
        (spots,) bool, which spots lie in a tile.
    key
        None: what lies in a file already is not kept once more.
    """

    key: str | None = None

    def __init__(self, centers: NDArray[np.floating], given: GivenFeatures) -> None:
        self._given = given
        self._tile = given.nearest(centers)
        self.readable = self._tile >= 0

    def read(self) -> NDArray[np.float32]:
        """(m, d) features of the spots that lie in a tile."""
        return self._given.rows(self._tile[self.readable])

    @cached_property
    def n_sharing(self) -> int:
        """How many spots have the features of a tile that is another spot's as well."""
        found = self._tile[self.readable]
        return len(found) - int((np.unique(found, return_counts=True)[1] == 1).sum())


@dataclass(frozen=True, eq=False)
class StudyFeatures:
    """Features of the sections of a study.

    Parameters
    ----------
    encoder
        Stands for whatever computed them.
    of_section
        The features of each section, by its name.
    notices
        Sentences the user should read.
    """

    encoder: ForeignEncoder
    of_section: Mapping[str, GivenFeatures]
    notices: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digests of the features of all sections."""
        return " ".join(given.sha256 for given in self.of_section.values())


def read_study_features(
    sections: Sequence[tuple[Section, tuple[float, float], NDArray[np.floating]]],
    key: EncoderKey,
    start: ModelConfig | None = None,
) -> StudyFeatures:
    """Read the features of sections, which have to be of one kind.

    Parameters
    ----------
    sections
        Each with the µm/px of its slide, (y, x), and the positions (y, x) of its spots in
        full-resolution pixels.
    key
        Names a file, or a folder with a file for each slide, for sections that name none.
    start
        Config of a model whose features they have to be; None without.

    Raises
    ------
    InputError
        Features of a section are missing, cannot be read, or differ in kind from another's.
    """
    given: dict[str, GivenFeatures] = {}
    notices: list[str] = []
    for section, mpp, centers in sections:
        name = section.section_id
        with _named(section), open_slide(section.slide, mpp=mpp, image=section.image) as slide:
            own_key = key_of_file(key, section.features)
            if start is not None:
                own = read_for_model(own_key, slide, start)
            else:
                own = read_given_features(own_key, slide)
            if given:
                first_name, first = next(iter(given.items()))
                notices += check_same_kind(
                    own, first.encoder, first.n_features, first.tile_um, f"section {first_name}"
                )
        given[name] = own
        notices += [f"{name}: {notice}" for notice in own.notices]
        notices += _spot_notices(name, SpotFeatures(centers, own), len(centers))
    if start is not None and start.encoder is not None:
        encoder = build_described(start.encoder)
    else:
        encoder = _encoder_of(list(given.values()), key)
    return StudyFeatures(encoder.eval(), given, tuple(notices))


def _encoder_of(given: Sequence[GivenFeatures], key: EncoderKey) -> ForeignEncoder:
    """What stands for the encoder that computed features of one kind."""
    tile_px = given[0].tile_px
    tile_um = float(np.exp(np.mean(np.log([each.tile_um for each in given]))))
    pinned = EncoderKey(FEATURES, str(key.path.absolute()) if key.place else "", key.options)
    spec = EncoderSpec(
        str(pinned),
        licence=key.options.get("licence", ""),
        tile_px=tile_px,
        mpp=float(f"{tile_um / tile_px:.9g}"),
        n_features=given[0].n_features,
        map_side=1,
    )
    name = next((each.encoder for each in given if each.encoder), "")
    return FeaturesEncoder(spec, {"name": name, "n_features": spec.n_features})


def features_for(section: Section, mpp: tuple[float, float], config: ModelConfig) -> GivenFeatures:
    """The features of a section that a model takes.

    Parameters
    ----------
    section
        Names their file; else they are looked for where the model's were.
    mpp
        µm/px of its slide, (y, x).
    config
        Of a model that takes features.

    Raises
    ------
    InputError
        They are missing, cannot be read, or are of another kind.
    """
    assert config.encoder is not None
    key = parse_key(str(config.encoder["key"]))
    with _named(section), open_slide(section.slide, mpp=mpp, image=section.image) as slide:
        return read_for_model(key_of_file(key, section.features), slide, config)


@contextmanager
def _named(section: Section) -> Iterator[None]:
    """Name the section in what is wrong with its features."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{section.section_id}: {error}") from None


def _spot_notices(name: str, spots: SpotFeatures, n_spots: int) -> list[str]:
    notices = []
    if lost := n_spots - int(spots.readable.sum()):
        notices.append(
            f"{name}: {lost:,} of {n_spots:,} spots lie in no tile with features and are left out."
        )
    if shared := spots.n_sharing:
        notices.append(
            f"{name}: {shared:,} of {n_spots:,} spots share a tile with another spot, so their "
            "features are the same; tiles closer together would tell them apart."
        )
    return notices
