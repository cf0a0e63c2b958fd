"""Which candidates for ranking learn side by side. Apart from the learners, which an API worker does not load."""

from __future__ import annotations

NAMED = ("pointwise-1", "pointwise-2", "pairwise-1", "listwise-1", "listwise-2", "newton-1", "newton-2")
"""Every name that means a kind and hyper-parameters (`online.models.learner.CANDIDATES`)."""
SIDE_BY_SIDE = ("newton-2", "pointwise-1", "pairwise-1", "listwise-1")
"""Which of them learn, the one first that serves in a new system."""


def side_by_side(active: str = "") -> tuple[str, ...]:
    """Return which of them learn where a certain one serves, that one first.

    Raises:
        ValueError: there is no such version.

    >>> side_by_side("pairwise-1")
    ('pairwise-1', 'newton-2', 'pointwise-1', 'listwise-1')
    """
    if active and active not in NAMED:
        msg = f"candidates for ranking are {', '.join(NAMED)}, not {active}"
        raise ValueError(msg)
    return tuple(dict.fromkeys((active or SIDE_BY_SIDE[0], *SIDE_BY_SIDE)))
