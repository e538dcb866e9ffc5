"""Union of two predictions of one map: a region's tiles beside those that were there before."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.lattice import same_lattice, step_um
from napari_nh2st.prediction.preview import end_preview, settle, show_preview
from napari_nh2st.prediction.reliability import LOOK_UNLIKE, STAIN_IS_FAR, unfamiliar_notices
from napari_nh2st.prediction.rows import RowLayout, column_in_place
from napari_nh2st.prediction.schema import (
    IMAGE_FEATURES,
    MARK,
    NUCLEI,
    PENDING,
    PREDICTED,
    STATUS,
    UNFAMILIAR,
    Notes,
    add_notices,
    named_layers,
    notes,
    notices,
    of_same_model,
    slide_fingerprint,
)
from napari_nh2st.prediction.value_arrays import has_value

_NUMBER = re.compile(r"\d[\d,.]*")


def of_same_map(one: AnnData, other: AnnData) -> bool:
    """Whether the values of two predictions can stand in one map.

    They are of one slide, model and list of genes, and their tiles lie on one lattice, with
    neighbors as far away. Of equal steps in pixels and in µm, the µm/px is equal too.
    """
    return bool(
        same_lattice(one, other)
        and np.isclose(step_um(one), step_um(other))
        and np.isclose(notes(one)["pitch_um"], notes(other)["pitch_um"])
        and of_same_model(one, other)
        and slide_fingerprint(one) == slide_fingerprint(other)
        and list(one.var_names) == list(other.var_names)
    )


def is_of_region(prediction: AnnData) -> bool:
    """Whether a region of the slide was predicted alone."""
    return len(notes(prediction).get("settings", {}).get("region", ())) > 0


_COMPUTED = (UNFAMILIAR, NUCLEI)
"""Columns of ``obs`` that are computed of a tile with its values."""


@dataclass(frozen=True, eq=False)
class Union:
    """A prediction to which another one, that may still fill up, is added tile by tile.

    Parameters
    ----------
    prediction
        The union: tiles of the former prediction, then those that the part alone has.
    part
        What is added. Its values replace former ones of the same tile when they come; a tile that
        it cannot read keeps its former value.
    rows
        (n,) rows of the part's tiles in the union.
    """

    prediction: AnnData
    part: AnnData
    rows: NDArray[np.intp]

    @classmethod
    def of(cls, former: AnnData, part: AnnData) -> "Union":
        """The union of a prediction and a part of the same map, with the values there are.

        The former prediction stays as it is. Analyses of it, such as domains, are not taken over.
        """
        is_new = ~part.obs_names.isin(former.obs_names)
        columns = part.obs.columns
        columns = columns.union([name for name in _COMPUTED if name in former.obs], sort=False)
        obs = pd.concat([former.obs, part.obs[is_new]])[columns]
        for name in _COMPUTED:
            if name in obs:
                obs[name] = obs[name].astype(np.float32)
        obs[STATUS] = obs[STATUS].astype(object)  # categories, of a file
        prediction = AnnData(
            np.concatenate([former.X, part.X[is_new]]),
            obs=obs,
            var=part.var.copy(),
            varm=dict(part.varm),
            obsm={
                key: np.concatenate([former.obsm[key], part.obsm[key][is_new]])
                for key in part.obsm
                if key in former.obsm
            }
            | _image_features(former, part, is_new),
            layers={
                key: np.concatenate([_layer(former, key), _layer(part, key)[is_new]])
                for key in dict.fromkeys([*named_layers(former), *named_layers(part)])
            },
            uns={**part.uns, MARK: _joined_notes(notes(former), notes(part))},
        )
        union = cls(prediction, part, prediction.obs_names.get_indexer(part.obs_names))
        for key in prediction.obsm:  # where its tissue is painted anew, that counts
            if key != IMAGE_FEATURES:
                prediction.obsm[key][union.rows] = part.obsm[key]
        union.bring(np.flatnonzero(has_value(part.X)))  # of many tiles, few: all would be copied
        return union

    def bring(self, tiles: NDArray[np.int64]) -> None:
        """Copy the values that have come in the part.

        Parameters
        ----------
        tiles
            (k,) rows of the part.
        """
        tiles = tiles[np.isfinite(self.part.X[tiles]).any(1)]
        rows = self.rows[tiles]
        settle(self.prediction, rows)
        self.prediction.X[rows] = self.part.X[tiles]
        # What the former run said of its values does not hold for others.
        for key, values in named_layers(self.prediction).items():
            values[rows] = self.part.layers[key][tiles] if key in self.part.layers else np.nan
        if (image := self.prediction.obsm.get(IMAGE_FEATURES)) is not None:
            known = self.part.obsm.get(IMAGE_FEATURES)
            image[rows] = np.nan if known is None else known[tiles]
        # The run may end without saying so.
        column_in_place(self.prediction, STATUS)[rows] = PREDICTED
        for name in _COMPUTED:
            if name in self.prediction.obs:
                column, of_part = column_in_place(self.prediction, name), self.part.obs.get(name)
                column[rows] = np.nan if of_part is None else of_part.to_numpy()[tiles]

    def show_preview(self, tiles: NDArray[np.int64]) -> None:
        """Show the preview of tiles of the part, where the former prediction has no value."""
        shown = tiles[np.isfinite(self.part.X[tiles]).any(1)]
        genes = self.part.n_vars
        rows = np.full((len(shown), RowLayout.of(self.prediction).n_columns), np.nan, np.float32)
        rows[:, :genes] = self.part.X[shown]
        show_preview(self.prediction, self.rows[shown], rows)

    def finish(self) -> None:
        """Copy all values of the part, what ``obs`` says of their tiles, and its notices.

        Tiles without a value in either say why there is none.
        """
        end_preview(self.prediction)
        is_known = has_value(self.part.X)
        self.bring(np.flatnonzero(is_known))
        # Those that the part had when it began are there already.
        said = _one_of_each_kind([*notices(self.part), *notices(self.prediction)])
        said = [text for text in said if LOOK_UNLIKE not in text]  # it is counted again
        notes(self.prediction)["notices"] = np.array(said, object)
        is_said = is_known | ~np.isfinite(self.prediction.X[self.rows]).any(1)
        is_said &= is_known | (self.part.obs[STATUS].to_numpy(object) != PENDING)
        for column in self.part.obs:
            values = self.part.obs[column].to_numpy()
            if column in self.prediction.obs:
                joined = self.prediction.obs[column].to_numpy().copy()
            else:
                joined = pd.Series(index=range(self.prediction.n_obs), dtype=values.dtype)
                joined = joined.to_numpy().copy()
            joined[self.rows[is_said]] = values[is_said]
            self.prediction.obs[column] = joined
        add_notices(self.prediction, unfamiliar_notices(self.prediction))


def _layer(prediction: AnnData, key: str) -> NDArray[np.floating]:
    """(n, genes) of ``layers``; NaN where a prediction does not have it."""
    if key in prediction.layers:
        return np.asarray(prediction.layers[key])
    return np.full(prediction.shape, np.nan, np.float32)


def _image_features(
    former: AnnData, part: AnnData, is_new: NDArray[np.bool_]
) -> dict[str, NDArray[np.float16]]:
    """Image features of the union's tiles, NaN where a prediction does not have them."""
    both = [each.obsm.get(IMAGE_FEATURES) for each in (former, part)]
    known = next((each for each in both if each is not None), None)
    if known is None:
        return {}
    first, second = (
        np.full((each.n_obs, known.shape[1]), np.nan, np.float16) if values is None else values
        for each, values in zip((former, part), both, strict=True)
    )
    return {IMAGE_FEATURES: np.concatenate([first, second[is_new]])}


def _joined_notes(former: Notes, part: Notes) -> Notes:
    """Notes of the part, with what the former says beside it."""
    joined = part.copy()
    regions = [dict(each.get("settings", {}).get("region", {})) for each in (former, part)]
    # The whole slide was predicted where one of them has no region.
    polygons = [polygon for region in regions for polygon in region.values() if all(regions)]
    distinct: list[NDArray[np.float64]] = []
    for polygon in polygons:
        if not any(np.array_equal(polygon, each) for each in distinct):
            distinct.append(polygon)
    region = {str(number): polygon for number, polygon in enumerate(distinct)}
    joined["settings"] = {**part.get("settings", {}), "region": region}
    if not regions[0] and "tissue" in former:
        joined["tissue"] = former["tissue"]
    # The farther stain is the one to be warned of.
    by_stain = sorted((former, part), key=lambda each: float(each.get("stain_distance", -1.0)))
    said = [str(text) for each in by_stain for text in each.get("notices", ())]
    joined["notices"] = np.array(_one_of_each_kind(said), object)
    if "stain_distance" in by_stain[-1]:
        joined["stain_distance"] = by_stain[-1]["stain_distance"]
    if "run" in former and "run" in part:
        # Of int8, the numbers are those of the slide's own tiles, the same in each of its runs.
        joined["run"] = {
            **former["run"],
            **part["run"],
            "device": _both(former["run"]["device"], part["run"]["device"]),
            "precision": _both(former["run"]["precision"], part["run"]["precision"]),
        }
    return joined


def _one_of_each_kind(said: Iterable[str]) -> list[str]:
    """The last of the notices that say the same with other numbers."""
    of_kind: dict[str, str] = {}
    for text in said:
        varying = next((words for words in (STAIN_IS_FAR, LOOK_UNLIKE) if words in text), None)
        of_kind[varying or _NUMBER.sub("#", text)] = text
    return list(of_kind.values())


def _both(former: str, part: str) -> str:
    """Two names, or one where they are equal; the former may be several already."""
    return ", ".join(dict.fromkeys([*str(former).split(", "), str(part)]))
