"""Colors for domains, distinct with any color vision, and kept when they are found anew."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# The first seven are Okabe & Ito 2008. Each further one is, of those that are neither very light,
# very dark nor grey, the color farthest from all before it: by the least CIE Lab distance among
# normal vision, protanopia and deuteranopia (simulated after Machado, Oliveira & Fernandes 2009).
DOMAIN_COLORS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#0000ff",
    "#552200", "#88ffaa", "#552244", "#221199", "#7766ff", "#ffddee", "#551166", "#dd0044",
    "#eeaa66", "#6699ff", "#ff99aa", "#1155bb", "#994477", "#446633", "#0022cc", "#eeee77",
    "#ff5577", "#552222", "#ccbbdd", "#665500", "#6644ff", "#442288",
)  # fmt: skip


def domain_color(number: int) -> str:
    """Color of a domain, numbered from 1; they repeat after the thirtieth."""
    return DOMAIN_COLORS[(number - 1) % len(DOMAIN_COLORS)]


def matching_colors(
    labels: NDArray[np.int64],
    n: int,
    former: NDArray[np.int64],
    former_colors: Sequence[str],
) -> tuple[str, ...]:
    """Colors of new domains, each that of the former domain with which it shares most tiles.

    Parameters
    ----------
    labels
        (tiles,) numbers of the new domains, from 1; 0 where there is none.
    n
        Number of new domains.
    former
        (tiles,) the same for the former domains.
    former_colors
        Colors of the former domains.

    Returns
    -------
    tuple of str
        A former color goes to one new domain, so that as many tiles as possible keep theirs. A
        new domain without one has the first color that no other has.
    """
    from scipy.optimize import linear_sum_assignment

    both = (labels > 0) & (former > 0)
    shared = np.zeros((n, len(former_colors)), np.int64)
    np.add.at(shared, (labels[both] - 1, former[both] - 1), 1)
    kept = {
        int(new): former_colors[old]
        for new, old in zip(*linear_sum_assignment(-shared), strict=True)
        if shared[new, old]
    }
    taken = set(kept.values())
    free = (color for color in DOMAIN_COLORS if color not in taken)
    return tuple(kept.get(new) or next(free, domain_color(new + 1)) for new in range(n))
