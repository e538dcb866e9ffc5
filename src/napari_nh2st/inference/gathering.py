"""Neighborhoods put together from tiles that are each encoded once."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.inference.transfer import to_device
from napari_nh2st.model.architectures import Predictor


class NeighborhoodGatherer:
    """Keeps encoded tiles as long as a neighborhood waits for them.

    Parameters
    ----------
    predictor
        Combines the encoded rows of a neighborhood.
    index, mask
        (n, 9) neighborhoods of all tiles and which of their places are filled.
    wanted
        Tiles whose prediction is wanted; others may be encoded for their neighbors' sake.
    rows
        Neighborhoods that are combined at a time, fewer filled up to as many. Matrix products of
        few rows take other ways through the processor than those of many, and round otherwise: a
        prediction would depend on which others became complete with it.
    positions
        (n, 2) of the tiles in µm, for a predictor that needs to know where neighbors lie; None for
        others.
    """

    def __init__(
        self,
        predictor: Predictor,
        index: NDArray[np.int64],
        mask: NDArray[np.bool_],
        wanted: NDArray[np.int64],
        rows: int,
        positions: NDArray[np.float64] | None = None,
    ) -> None:
        self._combined_rows = rows
        self._positions = positions
        self._predictor = predictor
        self._index = index
        self._filled = mask
        self._mask = mask.copy()
        count = len(index)
        # Who waits for a tile: the (tile, neighborhood) pairs sorted by tile.
        pairs = mask[wanted]
        self._waiters = np.repeat(wanted, pairs.sum(1))
        tiles = index[wanted][pairs]
        order = np.argsort(tiles, kind="stable")
        self._waiters = self._waiters[order]
        self._start = np.searchsorted(tiles[order], np.arange(count + 1))
        self.needed = np.unique(tiles)
        self._missing = np.zeros(count, np.int64)
        self._missing[wanted] = pairs.sum(1)
        self._uses = np.diff(self._start)
        self._slot = np.full(count, -1)
        self._free: list[int] = []
        self._rows: tuple[Tensor, ...] = ()

    def add(
        self, tiles: NDArray[np.int64], encoded: tuple[Tensor, ...], failed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], Tensor | None]:
        """Take in a batch; give the predictions that it completes.

        Parameters
        ----------
        tiles
            (b,) which tiles.
        encoded
            Their rows as :meth:`Predictor.encode` gives them.
        failed
            (b,) tiles that could not be read: neighborhoods go on without them.

        Returns
        -------
        tiles
            (m,) tiles whose neighborhood is complete; failed ones are not among them.
        predictions
            (m, genes), None if m is 0.
        """
        self._store(tiles, encoded)
        waiters = np.concatenate(
            [self._waiters[self._start[t] : self._start[t + 1]] for t in tiles]
        )
        np.subtract.at(self._missing, waiters, 1)
        touched = np.unique(waiters)
        if failed.any():
            self._mask[touched] &= ~np.isin(self._index[touched], tiles[failed])
        complete = touched[self._missing[touched] == 0]
        predictions = None
        good = complete[self._mask[complete, 0]]
        if len(good):
            # Places not filled take the tile's own row; the mask keeps them out.
            mask = self._mask[good]
            around = np.where(mask, self._index[good], good[:, None])
            device = self._rows[0].device
            each = [self._slot[around], mask]
            if self._positions is not None:
                at = self._positions[around]
                each.append((at - at[:, :1]).astype(np.float32))
            predictions = self._combine(*(to_device(part, device) for part in each))
        if len(complete):
            self._release(complete)
        return good, predictions

    def _combine(self, slots: Tensor, *more: Tensor) -> Tensor:
        """(m, genes) predictions of neighborhoods given as (m, 9) slots, mask and offsets."""
        predictions = []
        for start in range(0, len(slots), self._combined_rows):
            count = min(self._combined_rows, len(slots) - start)
            part, *others = (
                _filled_up(each[start : start + count], self._combined_rows)
                for each in (slots, *more)
            )
            gathered = tuple(rows[part] for rows in self._rows)
            mask, *offsets = others
            predictions.append(self._predictor.combine(gathered, mask, *offsets)[:count])
        return torch.cat(predictions)

    def _store(self, tiles: NDArray[np.int64], encoded: tuple[Tensor, ...]) -> None:
        if not self._rows:
            self._rows = tuple(e.new_empty((0, *e.shape[1:])) for e in encoded)
        short = len(tiles) - len(self._free)
        if short > 0:
            old = len(self._rows[0])
            grown = max(old * 2, old + short)
            self._rows = tuple(
                torch.cat([rows, rows.new_zeros((grown - old, *rows.shape[1:]))])
                for rows in self._rows
            )
            self._free += range(old, grown)
        slots = np.array([self._free.pop() for _ in tiles])
        self._slot[tiles] = slots
        on_device = to_device(slots, encoded[0].device)
        for rows, new in zip(self._rows, encoded, strict=True):
            rows[on_device] = new

    def _release(self, complete: NDArray[np.int64]) -> None:
        original = self._index[complete][self._filled[complete]]
        np.subtract.at(self._uses, original, 1)
        done = np.unique(original)
        done = done[(self._uses[done] == 0) & (self._slot[done] >= 0)]
        self._free += self._slot[done].tolist()
        self._slot[done] = -1


def _filled_up(rows: Tensor, count: int) -> Tensor:
    """So many rows, the last of them repeated."""
    missing = count - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])
