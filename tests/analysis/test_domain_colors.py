"""Colors of domains that are found anew."""

import numpy as np

from napari_nh2st.analysis.domain_colors import DOMAIN_COLORS, matching_colors

A, B, C = DOMAIN_COLORS[:3]


def test_what_is_much_the_same_keeps_its_color_whatever_its_number() -> None:
    former = np.repeat([1, 2, 3], 10)
    new = np.repeat([3, 1, 2], 10)
    new[0] = 1  # a tile that has moved
    assert matching_colors(new, 3, former, (A, B, C)) == (B, C, A)


def test_one_more_domain_has_a_color_of_its_own() -> None:
    former = np.repeat([1, 2], 10)
    new = np.repeat([2, 1], 10)
    new[:3] = 3
    assert matching_colors(new, 3, former, (A, C)) == (C, A, B)


def test_as_many_tiles_as_possible_keep_theirs() -> None:
    # Domain 1 shares most with 1, but then 2 would keep nothing.
    former = np.array([1] * 5 + [2] * 4 + [1] * 4)
    new = np.array([1] * 9 + [2] * 4)
    assert matching_colors(new, 2, former, (A, B)) == (B, A)


def test_a_domain_of_tiles_that_had_none_takes_no_color_away() -> None:
    former = np.array([0, 0, 1, 1])
    new = np.array([1, 1, 2, 2])
    assert matching_colors(new, 2, former, (A,)) == (B, A)
    assert matching_colors(np.zeros(4, np.int64), 1, former, (A,)) == (A,)
