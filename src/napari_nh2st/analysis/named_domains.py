"""Domains of a prediction with their names, as they stand in its ``obs``."""

import re
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.domain_colors import domain_color, matching_colors
from napari_nh2st.analysis.domains import Domains
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.schema import notes
from napari_nh2st.spots.positions import ARRAY

COLUMN = "domain"
"""Column of ``obs``: domain of each tile; ``uns["domain_colors"]`` has the colors, as in scanpy."""

_HEX = re.compile("#[0-9a-fA-F]{6}")
_MARKER_COLUMNS = ["domain", "gene", "score", "mean_in", "mean_out"]
_SHOWN_MARKERS = 3


@dataclass(frozen=True, eq=False)
class NamedDomains:
    """Domains of a prediction's tiles, with names and colors.

    Parameters
    ----------
    labels
        (tiles,) int64, from 1; 0 for a tile without a domain.
    names
        Names of the domains 1, 2 and so on, all different.
    markers
        As in :class:`~napari_nh2st.analysis.Domains`; empty if unknown.
    colors
        Colors of the domains as #rrggbb; by default those of their numbers.
    stable, n_heads
        (tiles,) number of heads of the model, of `n_heads`, in which a tile is in the same domain,
        as in :class:`~napari_nh2st.analysis.Domains`; None if unknown.
    """

    labels: NDArray[np.int64]
    names: tuple[str, ...]
    markers: pd.DataFrame
    colors: tuple[str, ...] = ()
    stable: NDArray[np.int64] | None = None
    n_heads: int = 0

    def __post_init__(self) -> None:
        if len(self.colors) != len(self.names):
            usual = tuple(domain_color(number) for number in range(1, len(self.names) + 1))
            object.__setattr__(self, "colors", usual)

    @classmethod
    def found(cls, domains: Domains, former: "NamedDomains | None" = None) -> "NamedDomains":
        """Fresh domains, named by their number.

        Parameters
        ----------
        domains
            From :func:`~napari_nh2st.analysis.find_domains`.
        former
            Earlier domains of the same tiles: a domain much like one of them keeps its color, see
            :func:`~napari_nh2st.analysis.domain_colors.matching_colors`.
        """
        names = tuple(f"domain {number}" for number in range(1, domains.n + 1))
        colors: tuple[str, ...] = ()
        if former is not None:
            colors = matching_colors(domains.labels, domains.n, former.labels, former.colors)
        return cls(domains.labels, names, domains.markers, colors, domains.stable, domains.n_heads)

    @classmethod
    def of(cls, prediction: AnnData, key: str = COLUMN) -> "NamedDomains | None":
        """The domains in a prediction's ``obs``; None if there are none.

        Markers are included if :meth:`write` wrote both; other tools write ``obs`` alone.
        """
        if key not in prediction.obs:
            return None
        column = pd.Categorical(prediction.obs[key])
        labels = column.codes.astype(np.int64) + 1
        names = tuple(map(str, column.categories))
        markers, colors = _written_markers(prediction, names, key), _written_colors(prediction, key)
        return cls(labels, names, markers, colors, *_written_stability(prediction, key))

    def carried_to(self, prediction: AnnData, former: AnnData) -> "NamedDomains":
        """The same domains on another prediction: tiles at the same places keep their labels."""
        places = _places(prediction)

        def carried(values: NDArray[np.int64]) -> NDArray[np.int64]:
            known = dict(zip(_places(former), values.tolist(), strict=True))
            return np.array([known.get(place, 0) for place in places], np.int64)

        stable = None if self.stable is None else carried(self.stable)
        return replace(self, labels=carried(self.labels), stable=stable)

    def renamed(self, number: int, name: str) -> "NamedDomains":
        """The same domains with another name for one.

        Raises
        ------
        InputError
            The name is empty, or that of another domain.
        """
        name = name.strip()
        if not name:
            raise InputError("A domain needs a name: type at least one letter.")
        if name in self.names and self.names.index(name) != number - 1:
            raise InputError(f"Another domain is already called {name!r}: choose another name.")
        names = (*self.names[: number - 1], name, *self.names[number:])
        return replace(self, names=names)

    def write(self, prediction: AnnData, key: str = COLUMN) -> None:
        """Put them into a prediction.

        Parameters
        ----------
        prediction
            ``obs[key]`` is a categorical of the names, ``uns[f"{key}_colors"]`` their colors as
            scanpy wants them, and ``uns["nh2st"][f"{key}_markers"]`` the markers, with the names.
            Where it is known, ``obs[f"{key}_stable_in"]`` is the number of heads in which a tile is
            in the same domain, of ``uns["nh2st"][f"{key}_heads"]``.
        key
            Column of ``obs``; the docks show :data:`COLUMN`.
        """
        kept, stable_in = _kept(prediction), f"{key}_stable_in"
        prediction.obs[key] = pd.Categorical.from_codes(self.labels - 1, list(self.names))
        prediction.uns[f"{key}_colors"] = np.array(self.colors, object)
        kept.pop(f"{key}_markers", None)
        had_heads = kept.pop(f"{key}_heads", None) is not None
        if self.stable is not None:
            prediction.obs[stable_in] = self.stable
            kept[f"{key}_heads"] = self.n_heads
        elif had_heads and stable_in in prediction.obs:
            del prediction.obs[stable_in]
        if len(self.markers):
            names = dict(enumerate(self.names, start=1))
            markers = self.markers.assign(domain=self.markers["domain"].map(names))
            # AnnData stores names of rows, not their numbers.
            kept[f"{key}_markers"] = markers.set_axis(markers.index.astype(str))

    @staticmethod
    def what_is_lost(prediction: AnnData, key: str = COLUMN) -> str:
        """What :meth:`write` would overwrite of another tool, in a sentence; empty if nothing.

        Domains that it wrote itself have the table of their markers beside them.
        """
        if key not in prediction.obs:
            return ""
        written = _kept(prediction).get(f"{key}_markers")
        names = set(map(str, pd.Categorical(prediction.obs[key]).categories))
        if isinstance(written, pd.DataFrame) and names <= set(map(str, written["domain"])):
            return ""
        return f"obs[{key!r}], which you or other software wrote, is replaced."

    def legend(self) -> pd.DataFrame:
        """One row per domain: ``domain`` (name), ``tiles``, ``share`` in percent, ``markers``.

        The markers are a tuple of the first few genes. If known, ``stable`` is the share of the
        domain's tiles, in percent, that are in it in all heads.
        """
        tiles = np.bincount(self.labels, minlength=len(self.names) + 1)[1:]
        legend = pd.DataFrame(
            {
                "domain": self.names,
                "tiles": tiles,
                "share": 100 * tiles / max(1, tiles.sum()),
                "markers": [
                    tuple(self.markers_of(number)["gene"].head(_SHOWN_MARKERS))
                    for number in range(1, len(self.names) + 1)
                ],
            }
        )
        if self.stable is not None:
            in_all = np.bincount(self.labels[self.stable == self.n_heads], minlength=len(tiles) + 1)
            legend["stable"] = 100 * in_all[1:] / np.maximum(1, tiles)
        return legend

    def markers_of(self, number: int) -> pd.DataFrame:
        """Genes of one domain, the highest score first."""
        own = self.markers[self.markers["domain"] == number]
        return own.drop(columns="domain").reset_index(drop=True)


def _places(prediction: AnnData) -> list[tuple[int, int]]:
    """Row and column of each tile on the array."""
    return list(prediction.obs[list(ARRAY)].itertuples(index=False, name=None))


def _kept(prediction: AnnData) -> dict[str, Any]:
    """``uns["nh2st"]``, where the keys of domains have their column's name."""
    return cast(dict[str, Any], notes(prediction))


def _written_colors(prediction: AnnData, key: str) -> tuple[str, ...]:
    """Colors that stand in ``uns``, by any tool; empty where one is none that can be drawn."""
    written = prediction.uns.get(f"{key}_colors")
    colors = () if written is None else tuple(map(str, np.ravel(written)))
    return colors if all(map(_HEX.fullmatch, colors)) else ()


def _written_stability(prediction: AnnData, key: str) -> tuple[NDArray[np.int64] | None, int]:
    """In how many heads tiles are in the same domain, as :meth:`NamedDomains.write` left it."""
    count = _kept(prediction).get(f"{key}_heads")
    if count is None or f"{key}_stable_in" not in prediction.obs:
        return None, 0
    return prediction.obs[f"{key}_stable_in"].to_numpy(np.int64), int(count)


def _written_markers(prediction: AnnData, names: tuple[str, ...], key: str) -> pd.DataFrame:
    """Markers as :meth:`NamedDomains.write` left them, by number; none if they are of others."""
    written = _kept(prediction).get(f"{key}_markers")
    if not isinstance(written, pd.DataFrame) or set(written["domain"]) != set(names):
        return pd.DataFrame(columns=_MARKER_COLUMNS)
    numbers = {name: number for number, name in enumerate(names, start=1)}
    # A file gives names as categories.
    markers = written.assign(
        domain=written["domain"].astype(object).map(numbers).astype(np.int64),
        gene=written["gene"].astype(object),
    )
    return markers.reset_index(drop=True)
