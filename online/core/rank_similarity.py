"""How alike two rankings are: what they share, how much so at the top, and how far the shared items have moved."""

from __future__ import annotations

from collections.abc import Sequence

PERSISTENCE = 0.9  # of who reads on from one rank to the next: the first ten ranks have 86 % of the weight


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of items that two rankings have in common, of the longer one's length; 1 for two empty ones.

    >>> overlap(["a", "b", "c", "d"], ["d", "a", "x", "y"])
    0.5
    """
    longest = max(len(one), len(other))
    return len(set(one) & set(other)) / longest if longest else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], *, persistence: float = PERSISTENCE) -> float:
    """Return the rank-biased overlap of two rankings of distinct items, extrapolated; 1 for two empty ones.

    The agreement at each depth counts `persistence` times that of the depth above; beyond what is seen the agreement
    is taken to stay as it is (Webber, Moffat, Zobel, "A similarity measure for indefinite rankings", ACM TOIS 2010,
    equation 32, for rankings of uneven length).

    >>> rank_biased_overlap(["a", "b", "c"], ["a", "b", "c"]), rank_biased_overlap(["a"], ["b"])
    (1.0, 0.0)
    >>> round(rank_biased_overlap(["a", "b"], ["b", "a"]), 3), round(rank_biased_overlap(["a", "b"], ["a", "c"]), 3)
    (0.9, 0.55)
    """
    short, long = sorted((one, other), key=len)
    if not long:
        return 1.0
    if not short:
        return 0.0
    p, s, depth = persistence, len(short), len(long)
    seen: tuple[set[str], set[str]] = (set(), set())
    shared, total, at_short = 0, 0.0, 0
    for d in range(1, depth + 1):
        for items, known in zip((short, long), seen, strict=True):
            if d <= len(items):
                known.add(items[d - 1])
        shared = len(seen[0] & seen[1])
        at_short = shared if d == s else at_short
        beyond = at_short * (d - s) / (s * d) if d > s else 0.0
        total += (shared / d + beyond) * p**d
    rest = ((shared - at_short) / depth + at_short / s) * p**depth
    return (1.0 - p) / p * total + rest


def rank_shift(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Return by how many ranks the items that both have differ, on average; None when they have none in common.

    >>> rank_shift(["a", "b", "c"], ["c", "b", "x"]), rank_shift(["a"], ["b"])
    (1.0, None)
    """
    ranks = {item: rank for rank, item in enumerate(other)}
    shifts = [abs(rank - ranks[item]) for rank, item in enumerate(one) if item in ranks]
    return sum(shifts) / len(shifts) if shifts else None
