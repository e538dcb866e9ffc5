"""Inputs of the trained part of a network, for any spots of a study."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_nh2st.model.encoders import Encoder, encoder_input
from napari_nh2st.model.encoders.adapters import adapter_parameters
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.network import Network, Outputs
from napari_nh2st.training.augmentation import AugmentationDraw, augment, draw, turned_offsets
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.batches import Batch
from napari_nh2st.training.features import FeaturesDone, FrozenStages, section_looks
from napari_nh2st.training.start_settings import TrainedEncoder
from napari_nh2st.training.study import SectionTiles


def first_trained_stage(encoder: Encoder, trained: TrainedEncoder, adapter_rank: int = 0) -> int:
    """First of the encoder's stages in which something is trained; their number where none is."""
    stages = len(encoder.stages)
    if adapter_rank:
        return 0
    return {"frozen": stages, "last-stages": max(0, stages - 2), "whole": 0}[trained]


class StudyTiles:
    """The spots of several sections, numbered through.

    Parameters
    ----------
    sections
        In the order of their rows.
    """

    def __init__(self, sections: Sequence[SectionTiles]) -> None:
        self.sections = tuple(sections)
        sizes = [len(section) for section in sections]
        self.first = np.concatenate([[0], np.cumsum(sizes)])
        self.target = torch.from_numpy(np.concatenate([s.target for s in sections]))
        self.neighborhoods = np.concatenate(
            [s.neighborhoods + at for s, at in zip(sections, self.first[:-1], strict=True)]
        )
        self.mask = np.concatenate([s.mask for s in sections])
        self.positions = np.concatenate([s.centers_um for s in sections])
        self.places = np.concatenate([s.places for s in sections])

    def __len__(self) -> int:
        return int(self.first[-1])

    @property
    def centers(self) -> list[NDArray[np.float64]]:
        """Positions of each section's spots in µm."""
        return [section.centers_um for section in self.sections]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sections."""
        return tuple(section.name for section in self.sections)

    def tiles(self, rows: NDArray[np.int64]) -> Tensor:
        """(b,) rows → (b, tile, tile, 3) uint8."""
        section = self.section_of(rows).numpy()
        within = rows - self.first[section]
        return torch.from_numpy(
            np.stack([self.sections[s].tiles[k] for s, k in zip(section, within, strict=True)])
        )

    def offsets(self, rows: NDArray[np.int64], neighborhoods: NDArray[np.int64]) -> Tensor:
        """Positions (b, k, 2) in µm of neighbors relative to their query.

        Parameters
        ----------
        rows
            (n,) rows of the study.
        neighborhoods
            (b, k) indices into ``rows``, the query first.
        """
        around = self.positions[rows[neighborhoods]]
        return torch.from_numpy((around - around[:, :1]).astype(np.float32))

    def section_of(self, rows: NDArray[np.int64]) -> Tensor:
        """Number of the section of each row."""
        return torch.from_numpy(np.searchsorted(self.first, rows, side="right") - 1)


class TrainedPart(nn.Module):
    """A network from its first trained stage on.

    Parameters
    ----------
    network
        All of it.
    first_stage
        First of the encoder's stages that :meth:`forward` runs and that is trained; of an encoder
        of another library, its adapters alone are.
    """

    def __init__(self, network: Network, first_stage: int) -> None:
        super().__init__()
        self.network = network
        self.first_stage = first_stage
        for module in self._as_it_is:
            module.requires_grad_(False)
        if not first_stage:
            for adapter in adapter_parameters(network.image_encoder):
                adapter.requires_grad_(True)
        self.train()

    @property
    def _as_it_is(self) -> list[nn.Module]:
        """What is not trained of the encoder, but for its adapters."""
        encoder = self.network.image_encoder
        stages = encoder.stages if isinstance(encoder, ForeignEncoder) else ()
        return [
            module for stage in stages or encoder.stages[: self.first_stage] for module in stage
        ]

    def train(self, mode: bool = True) -> "TrainedPart":
        """Put in training mode; stages that are not trained keep their norms' statistics."""
        super().train(mode)
        for module in self._as_it_is:
            module.eval()
        return self

    def maps(self, inputs: Tensor) -> Tensor:
        """Feature maps (n, d, h, h) of inputs as :class:`StudyInputs` gives them."""
        encoder = self.network.tile_encoder
        return encoder.through(inputs, self.first_stage, len(encoder.stages))

    def forward(
        self,
        inputs: Tensor,
        expression: Tensor,
        neighborhoods: Tensor,
        mask: Tensor,
        places: Tensor,
        patch: Tensor,
    ) -> Outputs:
        """All outputs of a training step.

        Parameters
        ----------
        inputs
            As :class:`StudyInputs` gives them.
        expression, neighborhoods, mask
            As for :meth:`Network.outputs`.
        places
            As :meth:`StudyInputs.places` gives them.
        patch
            (b,) the patch that each spot is in; a section, where the reach is ``"slide"``: no spot
            is seen from another's.
        """
        maps = self.maps(inputs)
        if self.network.reach != "slide":
            return self.network.outputs(maps, expression, neighborhoods, mask, places)
        sizes = torch.bincount(patch).tolist()
        return joined_outputs(
            [
                self.network.slide_outputs(*each)
                for each in zip(*(t.split(sizes) for t in (maps, expression, places)), strict=True)
            ]
        )


def joined_outputs(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several sections, one behind the other."""
    first = parts[0]
    return Outputs(
        torch.cat([part.prediction for part in parts]),
        {name: torch.cat([part.branches[name] for part in parts]) for name in first.branches},
        {
            name: (
                torch.cat([part.pairs[name][0] for part in parts]),
                torch.cat([part.pairs[name][1] for part in parts]),
            )
            for name in first.pairs
        },
    )


class StudyInputs:
    """Tiles, or what the stages that are not trained make of them, computed once and kept.

    Parameters
    ----------
    study
        The spots.
    part
        The part that takes the inputs.
    settings
        Settings of the augmentation.
    looks
        Number of looks that are kept, where some are: the tile as it is, and drawn ones.
    seed
        Seed of the drawn looks.
    device
        Device of the inputs.
    """

    def __init__(
        self,
        study: StudyTiles,
        part: TrainedPart,
        settings: AugmentationSettings,
        *,
        looks: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.study = study
        self._part = part
        self._settings = settings
        self._device = device
        self._seed = seed
        # Features that are given have no other look.
        one_look = not part.first_stage or part.network.image_encoder.spec.takes_features
        self._looks = 1 if one_look else looks
        self._features: list[list[Tensor]] = []
        """By section and look: (its spots, d, h, w)."""
        self._turns: list[list[tuple[int, bool]]] = []
        """By section and look: quarter turns, and whether it is mirrored."""

    @property
    def n_to_keep(self) -> int:
        """Passes of single tiles that :meth:`keep` makes."""
        return self._looks * len(self.study) if self._part.first_stage else 0

    def keep(self) -> Iterator[FeaturesDone]:
        """Find what is not trained makes of all tiles, or compute it; reports now and then."""
        if not self._part.first_stage:
            return
        network = self._part.network
        encoder = network.tile_encoder
        stages = FrozenStages(encoder, self._part.first_stage, self._device)
        is_frozen = self._part.first_stage == len(encoder.stages)
        for section in self.study.sections:
            of_looks: list[Tensor] = []
            self._features.append(of_looks)
            self._turns.append([])
            for look in section_looks(self._settings, section, self._looks, self._seed):
                self._turns[-1].append(
                    (0, False) if look is None else (int(look.turns), bool(look.flipped))
                )
                if is_frozen and network.sees_means_alone:
                    means = yield from stages.means(section, look)
                    of_looks.append(means[:, :, None, None])
                else:
                    of_looks += [(yield from stages.maps(section, look))]

    def augmented(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Inputs of a batch: every patch of it with a look of its own."""
        if not self._part.first_stage:
            looks = draw(self._settings, batch.n_patches, generator)
            return self._pixels(batch.rows, looks[torch.from_numpy(batch.patch)])
        look = torch.randint(self._looks, (batch.n_patches,), generator=generator).numpy()
        return self._gathered(batch.rows, look[batch.patch])

    def places(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Where spots lie, turned and mirrored as the tiles are.

        Positions (b, k, 2) in µm of neighbors relative to their query; where the reach is
        ``"slide"``, positions (b, 2) in units of the pitch. From a generator in the state that
        :meth:`augmented` gets.
        """
        if self._part.network.reach == "slide":
            at = torch.from_numpy(self.study.places[batch.rows])
            return self._turned(at[:, None], batch, generator)[:, 0]
        return self._turned(self.study.offsets(batch.rows, batch.neighborhoods), batch, generator)

    def _turned(self, offsets: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        patch = torch.from_numpy(batch.patch)
        if not self._part.first_stage:
            looks = draw(self._settings, batch.n_patches, generator)[patch]
            return turned_offsets(offsets, looks.turns, looks.flipped)
        look = torch.randint(self._looks, (batch.n_patches,), generator=generator)[patch]
        turns = torch.tensor(self._turns)[self.study.section_of(batch.rows), look]
        return turned_offsets(offsets, turns[:, 0], turns[:, 1] > 0)

    @property
    def n_looks(self) -> int:
        """Looks that are kept, of which the first is the tile as it is; 1 where none are."""
        return self._looks

    def in_look(self, rows: NDArray[np.int64], look: int) -> Tensor:
        """Inputs in one of the looks that are kept."""
        if not self._part.first_stage:
            return self._pixels(rows, None)
        return self._gathered(rows, np.full(len(rows), look))

    def plain(self, rows: NDArray[np.int64]) -> Tensor:
        """Inputs as they are."""
        return self.in_look(rows, 0)

    def _gathered(self, rows: NDArray[np.int64], looks: NDArray[np.int64]) -> Tensor:
        """Features of rows, each with its look: (b, ...) float32."""
        section = np.searchsorted(self.study.first, rows, side="right") - 1
        within = torch.from_numpy(rows - self.study.first[section])
        some = self._features[0][0]
        together = section * self._looks + looks
        parts = [
            (number, self._features[number // self._looks][number % self._looks])
            for number in np.unique(together)
        ]
        # Where one has values beyond the range of half precision, others need not.
        dtypes = {features.dtype for _, features in parts}
        dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
        result = torch.empty((len(rows), *some.shape[1:]), dtype=dtype)
        for number, features in parts:
            chosen = torch.from_numpy(np.flatnonzero(together == number))
            result[chosen] = features[within[chosen]]
        return result.to(self._device, torch.float32)

    def _pixels(self, rows: NDArray[np.int64], looks: AugmentationDraw | None) -> Tensor:
        tiles = self.study.tiles(rows).to(self._device)
        if looks is not None:
            tiles = augment(tiles, looks.to(self._device))
        return encoder_input(tiles, self._part.network.image_encoder.spec)
