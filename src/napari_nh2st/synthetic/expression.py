"""Spatial transcriptomics of a synthetic tissue: counts to measure, and the truth behind them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_matrix

from napari_nh2st.errors import InputError
from napari_nh2st.shown_text import plain_number
from napari_nh2st.spots.assembly import CountTable, Source, assemble
from napari_nh2st.spots.positions import SPATIAL
from napari_nh2st.spots.target import expected_target

from .fields import NEST_DENSITY, STROMA_DENSITY, Floats, TissueFields
from .tissue import SyntheticTissue

Layout = Literal["square", "hexagonal"]
Programme = Literal["density", "nests", "stroma", "boundary", "neighbors"]
PROGRAMMES: Final[tuple[Programme, ...]] = get_args(Programme)
NULL: Final = "null"
"""What ``var["programme"]`` calls genes that follow nothing."""

TRUTH: Final = "truth_rate"
"""Layer of the counts to be expected without noise."""

_LEAST_TISSUE = 0.9  # of a spot's tile
_FEWEST_SPOTS = 2
_BOUNDARY_REACH_UM = 35.0
# What the levels 0 and 1 stand for: most tiles of a tissue lie between.
_BOUNDARY_RANGE = (0.2, 0.6)
_NEIGHBORS_RANGE = (0.1, 0.7)
_ABUNDANCES, _NOISE = 1, 2  # streams of random numbers

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ProgrammeSettings:
    """How expression follows a synthetic tissue, and how it is measured.

    The defaults have the depth, the zeros and the noise per gene of the 250 most abundant genes
    of a legacy ST section.

    Parameters
    ----------
    pitch_um
        Distance between spots in µm: along rows and columns, or between the six nearest.
    layout
        Array of the spots: square, as in legacy ST, or hexagonal, as on Visium.
    tile_um
        Side in µm of the square of tissue around a spot that its genes follow.
    genes_per_programme
        Number of genes in each programme, even: half rise with what it follows, half fall.
    null_genes
        Number of genes with the same expression everywhere.
    fold
        Ratio between a programmed gene's highest and lowest expected count.
    abundance_spread
        Standard deviation of the logarithm of the genes' mean counts.
    depth
        Mean count of a spot, over all genes together.
    depth_spread
        Standard deviation of the logarithm of the spots' depth. Depth is independent of the
        tissue: if it followed it, null genes would show it, by way of the logarithm.
    dispersion
        Dispersion of the negative binomial counts: for mean m, the variance is m + dispersion · m².
    dropout
        Expected count at which half of the spots lose a gene altogether. The others get more of
        it, so that the mean is unchanged.
    seed
        Seed of the genes' abundances and, together with the tissue's seed, of the noise.
        Sections of a study share it.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    pitch_um: float = 200.0
    layout: Layout = "square"
    tile_um: float = 150.0
    genes_per_programme: int = 16
    null_genes: int = 40
    fold: float = 10.0
    abundance_spread: float = 0.6
    depth: float = 2000.0
    depth_spread: float = 0.6
    dispersion: float = 0.05
    dropout: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.genes_per_programme < 2 or self.genes_per_programme % 2 or self.null_genes < 0:
            raise ValueError(
                "A programme needs an even number of genes, of which half rise and half fall, and "
                f"null genes are none or more; not {self.genes_per_programme} and "
                f"{self.null_genes}."
            )
        for name in ("pitch_um", "tile_um", "depth"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be a positive number, not {getattr(self, name)}.")
        for name in ("abundance_spread", "depth_spread", "dispersion", "dropout", "seed"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}.")
        if not 1 <= self.fold < np.inf:
            raise ValueError(f"fold must be 1 or more, not {self.fold}.")


def synthetic_spots(tissue: SyntheticTissue, settings: ProgrammeSettings | None = None) -> AnnData:
    """Measure a synthetic tissue with an array of spots, square by default as legacy ST.

    A programmed gene is linear in the level of its programme at the spot. Levels are 0–1 and
    have the same meaning in all tissues:

    - ``"density"``: programmed nuclei per mm² over the spot's tile, from pure stroma to nest;
    - ``"nests"``: share of the tile that is tumour nest;
    - ``"stroma"``: share of the tile that is stroma without lymphocytes;
    - ``"boundary"``: mean of exp(−d / 35 µm) over the tile, from 0.2 to 0.6, with d the distance
      to the nearest boundary between nest and stroma;
    - ``"neighbors"``: share of tumour nest, from 0.1 to 0.7, in the neighboring tiles together
      (up to 8 on a square array, 6 on a hexagonal one), without the spot's own.

    Each gene has a partner of the same abundance that falls as it rises, and null genes are
    constant. So the expected total is the same at all spots, and null genes stay constant when
    counts are scaled to their total. That holds for panels with both partners of each pair, such
    as all genes.

    Parameters
    ----------
    tissue
        The tissue to measure. Spots are where tiles are at least 90 % tissue, in its largest piece.
    settings
        How expression follows the tissue; None for the defaults.

    Returns
    -------
    AnnData
        As from :func:`~napari_nh2st.spots.read_spots`, in pixels of the slide that
        `write_synthetic_slide` writes with the tissue's seed, shape and µm/px; and with

        - ``layers["truth_rate"]``: (spots, genes) float32, the counts expected without noise at
          a spot of mean depth;
        - ``var["programme"]``: what the gene follows, or ``"null"``; ``var["direction"]``: 1
          where it rises with it, −1 where it falls, 0 for null genes;
        - ``obsm["programmes"]``: table of the programmes' levels at each spot;
        - ``uns["nh2st_synthetic"]``: the tissue's seed and the settings.

    Raises
    ------
    ValueError
        The tissue is too small for two spots.

    Examples
    --------
    >>> spots = synthetic_spots(SyntheticTissue(seed=1, shape=(3000, 3000), mpp=1.0))
    >>> int((spots.var["programme"] == "nests").sum())
    16
    """
    settings = settings or ProgrammeSettings()
    inside, y, x = _array_on_tissue(tissue, settings)
    levels = _levels(tissue.fields, y, x, settings.tile_um)
    levels["neighbors"] = _stretched(
        _over_neighbors(levels["nests"], inside, settings.layout), *_NEIGHBORS_RANGE
    )
    var, shares = _genes(settings, levels)
    rate = settings.depth * shares
    counts = _measured(tissue, rate, settings)

    array = np.argwhere(inside)
    table = CountTable(
        csr_matrix(counts, dtype=np.float32),
        np.array([f"{column}x{row}" for row, column in array.tolist()], str),
        var.index.to_numpy(str),
    )
    pixels = np.column_stack([x, y]) / tissue.mpp
    source = Source(Path(f"synthetic tissue {tissue.seed}"), "synthetic", settings.pitch_um)
    spots = assemble(table, pixels, array, source)
    spots.var = var
    spots.layers[TRUTH] = rate.astype(np.float32)
    spots.uns["nh2st_synthetic"] = {"tissue_seed": tissue.seed, **asdict(settings)}
    spots.obsm["programmes"] = pd.DataFrame(levels, index=spots.obs_names)
    return spots


def true_target(
    spots: AnnData, panel: Sequence[str], *, smoothed: bool = True
) -> NDArray[np.float32]:
    """What :func:`~napari_nh2st.spots.expression_target` would return for counts without noise.

    Parameters
    ----------
    spots
        From `synthetic_spots`, or their file read with ``anndata.read_h5ad``; ``read_spots``
        leaves the truth out.
    panel
        Genes, in the order wanted.
    smoothed
        Whether to average over neighbors.

    Returns
    -------
    ndarray
        (spots, panel) float32.

    Raises
    ------
    InputError
        `spots` lacks the truth, the panel is empty, or a gene of it is missing.
    """
    if TRUTH not in spots.layers:
        raise InputError(
            f"These spots have no layer {TRUTH}; take them from synthetic_spots, or from their "
            ".h5ad with anndata.read_h5ad"
        )
    rates = AnnData(spots.layers[TRUTH], spots.obs, spots.var, obsm={SPATIAL: spots.obsm[SPATIAL]})
    return expected_target(rates, panel, smoothed=smoothed)


def _array_on_tissue(
    tissue: SyntheticTissue, settings: ProgrammeSettings
) -> tuple[NDArray[np.bool_], Values, Values]:
    """Which places of the array (rows, columns) have a spot, and the spots' y and x in µm (n,).

    Of a hexagonal array every other place is empty: columns count half steps, as Visium's do.
    """
    pitch, is_hexagonal = settings.pitch_um, settings.layout == "hexagonal"
    size = np.array(tissue.shape) * tissue.mpp
    steps = (pitch * np.sqrt(3) / 2, pitch / 2) if is_hexagonal else (pitch, pitch)
    y, x = np.meshgrid(
        *(
            (np.arange(n // step) - (n // step - 1) / 2) * step + n / 2
            for n, step in zip(size, steps, strict=True)
        ),
        indexing="ij",
    )
    fields = tissue.fields
    covered = _tile_means(fields, fields.tissue, y, x, settings.tile_um) >= _LEAST_TISSUE
    piece, _ = ndimage.label(covered, np.ones((3, 3)))
    spots_of_piece = np.bincount(piece.ravel(), minlength=2)[1:]
    if spots_of_piece.max() < _FEWEST_SPOTS:
        raise ValueError(
            f"A synthetic tissue of {plain_number(size[0])} × {plain_number(size[1])} µm is too "
            f"small for spots {pitch:g} µm apart with tiles of {settings.tile_um:g} µm."
        )
    inside = piece == 1 + np.argmax(spots_of_piece)
    if is_hexagonal:
        inside &= np.indices(inside.shape).sum(0) % 2 == 0
    return inside, y[inside], x[inside]


def _tile_means(
    fields: TissueFields, field: Floats, y: Values, x: Values, tile_um: float
) -> Values:
    """Mean of a field over the square of `tile_um` around each position (µm)."""
    # The integral over a box is a sum over its corners of the integral from the slide's corner.
    integral = np.pad(field.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    total = np.zeros(y.shape)
    for down, across in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        corner = [(n + side * tile_um / 2) / fields.mpp for n, side in ((y, down), (x, across))]
        total += down * across * ndimage.map_coordinates(integral, corner, order=1, mode="nearest")
    return np.asarray(total * (fields.mpp / tile_um) ** 2)


def _levels(fields: TissueFields, y: Values, x: Values, tile_um: float) -> dict[Programme, Values]:
    """Levels 0–1 of the programmes that follow the spot's own tile."""

    def over_tile(field: Floats) -> Values:
        return _tile_means(fields, field, y, x, tile_um)

    nest = fields.nest_level > 0
    depth, height = (ndimage.distance_transform_edt(inside) for inside in (nest, ~nest))
    # From a pixel's centre to that of the nearest on the other side: the boundary is half way.
    distance = fields.mpp * (depth + height - 0.5)
    near_boundary = np.asarray(np.exp(-distance / _BOUNDARY_REACH_UM), np.float32)
    return {
        "density": _stretched(over_tile(fields.density), STROMA_DENSITY, NEST_DENSITY),
        "nests": _stretched(over_tile(fields.nest), 0, 1),
        "stroma": _stretched(over_tile(fields.stroma * (1 - fields.lymphoid)), 0, 1),
        "boundary": _stretched(over_tile(near_boundary), *_BOUNDARY_RANGE),
    }


def _stretched(values: Values, low: float, high: float) -> Values:
    return np.clip((values - low) / (high - low), 0, 1)


def _over_neighbors(values: Values, inside: NDArray[np.bool_], layout: Layout) -> Values:
    """Mean over the spots one step away; not the spot itself."""
    ring = np.array(
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
        if layout == "square"
        else [[0, 1, 0, 1, 0], [1, 0, 0, 0, 1], [0, 1, 0, 1, 0]]
    )
    of_spots = np.zeros(inside.shape)
    of_spots[inside] = values
    total, number = (
        ndimage.correlate(grid, ring, mode="constant")[inside]
        for grid in (of_spots, inside.astype(np.float64))
    )
    return np.asarray(total / number)


def _genes(
    settings: ProgrammeSettings, levels: dict[Programme, Values]
) -> tuple[pd.DataFrame, Values]:
    """The genes' table, and the share (spots, genes) of a spot's counts expected of each."""
    rng = np.random.default_rng([_ABUNDANCES, settings.seed])
    n_pairs = settings.genes_per_programme // 2
    names: list[str] = []
    programmes: list[str] = []
    directions: list[int] = []
    shares: list[Values] = []
    for programme in PROGRAMMES:
        level = levels[programme]
        for k, abundance in enumerate(_abundances(rng, n_pairs, settings)):
            for direction, towards in ((1, level), (-1, 1 - level)):
                names.append(f"{programme}-{2 * k + 1 + (direction < 0):02d}")
                programmes.append(programme)
                directions.append(direction)
                # From 1 to `fold`, and so that the two partners sum to twice their abundance.
                rise = 1 + (settings.fold - 1) * towards
                shares.append(2 * abundance / (settings.fold + 1) * rise)
    for k, abundance in enumerate(_abundances(rng, settings.null_genes, settings)):
        names.append(f"{NULL}-{k + 1:02d}")
        programmes.append(NULL)
        directions.append(0)
        shares.append(np.full(len(level), abundance))
    var = pd.DataFrame({"programme": programmes, "direction": directions}, index=names)
    share = np.stack(shares, axis=1)
    return var, share / share.sum(1, keepdims=True)


def _abundances(rng: np.random.Generator, number: int, settings: ProgrammeSettings) -> Values:
    return rng.lognormal(0, settings.abundance_spread, number)


def _measured(tissue: SyntheticTissue, rate: Values, settings: ProgrammeSettings) -> Values:
    """Counts drawn at the expected `rate` (spots, genes)."""
    stream = [_NOISE, settings.seed, abs(tissue.seed), int(tissue.seed < 0)]
    rng = np.random.default_rng(stream)
    spread = settings.depth_spread
    depth = rng.lognormal(-(spread**2) / 2, spread, (len(rate), 1))
    mean = rate * depth
    # Lost with probability dropout / (mean + dropout); those that are kept make up for it.
    kept = rng.random(mean.shape) * (mean + settings.dropout) < mean
    drawn = (mean + settings.dropout) * kept
    if settings.dispersion:
        drawn *= rng.gamma(1 / settings.dispersion, settings.dispersion, mean.shape)
    return rng.poisson(drawn).astype(np.float64)
