"""Grids of a prediction whose tiles are those that have features; needs no torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.inference.grids import Grids
from napari_nh2st.inference.notices import pitch_notice, scale_notices
from napari_nh2st.inference.settings import PredictSettings, Region
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.key import FEATURES, EncoderKey, parse_key
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.feature_grid import feature_grid
from napari_nh2st.tiles.given_features import GivenFeatures, features_key, read_for_model
from napari_nh2st.tiles.grid import Layout, TileGrid, inside_region


def given_features(slide: Slide, config: ModelConfig, features: str | None) -> GivenFeatures | None:
    """The features that a model takes in the place of a slide's pixels; None where it takes pixels.

    Parameters
    ----------
    slide
        Knows its µm/px.
    config
        Of the model.
    features
        A file, or a folder with a file for each slide, with or without options; None looks where
        those of the training were, if that was a folder.

    Raises
    ------
    InputError
        None are given and the model needs some, or the other way round; or they cannot be used.
    """
    if not config.takes_features:
        if features is not None:
            raise InputError(
                f"features are given, but {config.name} predicts from the slide's pixels; leave "
                "them out"
            )
        return None
    assert config.encoder is not None
    own = parse_key(str(config.encoder["key"]))
    if features is not None:
        asked = features_key(features)
        key = EncoderKey(FEATURES, asked.place, {**own.options, **asked.options})
    elif own.path.is_dir() and own.place:
        key = own
    else:
        name = config.encoder["recipe"].get("name") or "the encoder that it was trained with"
        raise InputError(
            f"{config.name} predicts from features that another tool computed: "
            f"{config.encoder['n_features']} numbers of {name} for each tile of {config.tile_px} "
            f"px at {config.mpp:.3g} µm/px. Give their file (--features on the command line, "
            "features= in Python)"
        )
    return read_for_model(key, slide, config)


@dataclass(frozen=True)
class FeatureGrids(Grids):
    """The one grid that there is: the tiles of a file of features.

    Parameters
    ----------
    mask
        Tissue that was given by hand; None takes all tiles of the file, whose tool has looked for
        tissue already.
    given
        The features.
    """

    given: GivenFeatures

    @cached_property
    def _every(self) -> TileGrid:
        return feature_grid(self.given, self.slide, self.config.pitch_um)

    @property
    def pitch_um(self) -> float:
        """As many steps of the file as come nearest to the model's pitch."""
        return self._every.pitch_um

    @property
    def layout(self) -> Layout:
        """Other tools know no other."""
        return "square"

    @property
    def divisions(self) -> tuple[int, ...]:
        """Steps in a pitch.

        Raises
        ------
        InputError
            The settings ask for another step, pitch or layout than the file has.
        """
        for name in ("step_um", "pitch_um", "layout"):
            if (value := getattr(self.settings, name)) is not None:
                raise InputError(
                    f"{name} is {value}, but the tiles are those of {self.given.path.name}, "
                    f"{self._every.step_um:.4g} µm apart; leave it out"
                )
        return (self._every.divisions,)

    @property
    def offered(self) -> tuple[int, ...]:
        """The one there is."""
        return (self._every.divisions,)

    def tiles(self, divisions: int, polygons: Region = ()) -> TileGrid:
        """The tiles of the file, or those in some polygons."""
        grid = self._every
        keep = np.ones(len(grid), bool)
        if self.mask is not None:
            corners = grid.centers - np.divide(grid.tile_px, 2)
            keep &= self.mask.fraction(corners, grid.tile_px) >= self.settings.min_tissue
        if polygons:
            keep &= inside_region(grid.centers, tuple(np.array(each) for each in polygons))
        if not keep.any():
            where = "the region" if polygons else "the tissue that was given"
            raise InputError(f"{self.given.path}: none of its tiles lies in {where}.")
        return grid.subset(np.flatnonzero(keep))


def feature_notices(
    given: GivenFeatures, slide: Slide, config: ModelConfig, settings: PredictSettings
) -> list[str]:
    """Sentences on features, and on a distance of their tiles that is not the model's pitch.

    Raises
    ------
    InputError
        The model predicts from the whole slide, and knows tiles at another distance.
    """
    pitch_um = FeatureGrids(slide, config, settings, None, given).pitch_um
    if config.reach == "slide" and pitch_notice(pitch_um, config) is not None:
        raise InputError(
            f"{config.name} predicts from the whole slide, and knows tiles {config.pitch_um:g} µm "
            f"apart; those of {given.path.name} are {pitch_um:.4g} µm apart, or a part of it. "
            "Compute features of tiles that are, with overlap or without"
        )
    # The slide's own µm/px is none of the model's business: it sees no pixels.
    return [*given.notices, *scale_notices((config.mpp, config.mpp), pitch_um, config)]


def given_rows(
    given: GivenFeatures, tiles: TileGrid, schedule: Iterable[NDArray[np.int64]], size: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Features of tiles in batches of one size.

    Few rows at a time round otherwise than many: a short batch is filled up with its last row.

    Parameters
    ----------
    given
        Of the slide.
    tiles
        All that the schedule numbers; each is one of the features' tiles.
    schedule
        Gives the tiles of each batch.
    size
        Rows of a batch.

    Yields
    ------
    index, features
        (m,) tiles; and (size, d) float32, of which the first m are theirs.
    """
    row_of = given.nearest(tiles.centers)
    for index in schedule:
        filled = np.concatenate([index, np.repeat(index[-1:], size - len(index))])
        yield index, given.rows(row_of[filled])
