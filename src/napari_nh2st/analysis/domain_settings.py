"""Settings of a search for spatial domains."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_nh2st.html_card import settings_card
from napari_nh2st.options import Option, check_options

DomainMethod = Literal["kmeans", "leiden"]


@dataclass(frozen=True)
class DomainSettings:
    """Everything that shapes the domains, for Python, the command line and the widget alike.

    Each field's :class:`~napari_nh2st.options.Option` says what it does, its range, and what None
    means.

    Parameters
    ----------
    method
        ``"kmeans"``, or ``"leiden"``, which finds communities of the graph that joins each tile
        with the 15 whose predictions are most similar.
    spatial_weight
        Weight of the mean of a tile's neighbors on the array, from 0 to 1.
    image_weight
        Weight of the tiles' image features beside their expression, from 0 to 1: principal
        components of both are clustered side by side, each kind scaled to the same total variance
        before it is weighted (as in multi-modal spatial clustering, such as stMMC). Only for
        predictions that kept their image features.
    refine
        Number of nearest tiles that vote, with the tile itself, on its final domain, which removes
        single tiles within another domain; 0 for no vote. Published with 50 for the spots of a
        section by spatial clustering methods that follow mclust (such as stMMC, arXiv 2411.02534).
    """

    method: Annotated[
        DomainMethod,
        Option(
            "Method",
            "k-means is quick; Leiden finds communities of similar tiles, of any shape",
            words={"kmeans": "k-means", "leiden": "Leiden"},
        ),
    ] = "kmeans"
    n_domains: Annotated[int, Option("Domains", "Number of domains to find", (2, 50), step=1)] = 6
    resolution: Annotated[
        float | None,
        Option(
            "Resolution",
            "Resolution of Leiden; a higher one gives more domains",
            (1e-4, 10_000),
            default="the one that gives the number of domains",
        ),
    ] = None
    n_components: Annotated[
        int, Option("Components", "Number of principal components that are clustered", (1, 500))
    ] = 20
    spatial_weight: Annotated[
        float,
        Option(
            "Smoothness",
            "Smoothness, from 0 (each tile by itself) to 1 (only by its neighbors)",
            (0, 1),
            step=0.1,
        ),
    ] = 0.0
    refine: Annotated[
        int,
        Option(
            "Refine",
            "Number of nearest tiles whose majority decides a tile's domain; 0 for no vote",
            (0, 200),
            step=1,
        ),
    ] = 0
    min_reliability: Annotated[
        float | None,
        Option(
            "Only genes",
            "Lowest held-out correlation of genes that are used",
            (-1, 1),
            step=0.05,
            default="all genes are used",
        ),
    ] = 0.2
    seed: Annotated[int, Option("Seed", "Seed of the random start", (0, 2**32 - 1), step=1)] = 0
    image_weight: Annotated[
        float,
        Option(
            "Image weight",
            "How much the look of the tiles counts, from 0 (only expression) to 1 (only look); "
            "for predictions with image features",
            (0, 1),
            step=0.1,
        ),
    ] = 0.0

    _repr_html_ = settings_card

    def __post_init__(self) -> None:
        check_options(self)
