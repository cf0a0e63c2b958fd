"""What a logged slate says about its own draw: the slate it draws again, and the distribution of every slot.

The distributions are computed from the record by the formula of `policy`, one slot and one array at a time, apart from
the kernel that has drawn: what evaluation and the proof of propensities read is not the code they judge.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from schemas.slate import Slate

from .policy import Draw, Limits, SlotPolicy, draw_slate


def slot_policy(slate: Slate) -> SlotPolicy:
    """Return the slot policy that a slate was drawn with."""
    return SlotPolicy(slate.tau, slate.epsilon, slate.diversity, slate.pool_share, slate.category_cap, slate.brand_cap)


def redrawn(slate: Slate) -> Draw:
    """Draw a slate again from what it has logged."""
    return draw_slate(
        np.frombuffer(slate.utilities),
        groups_of(slate),
        _mask(slate.eligible),
        slate.n,
        slot_policy(slate),
        slate.seed,
        pool=_mask(slate.pool) if slate.pool else None,
        pins=slate.pins,
        limits=limits_of(slate),
    )


def slot_distributions(slate: Slate) -> NDArray[np.float64]:
    """Return each slot's probabilities given the slots before it, shape (n, c): 1 for a pin, 0 for what is not open."""
    distributions = np.zeros((len(slate.slots), len(slate.candidates)))
    for p, (chosen, known) in zip(distributions, _slots(slate), strict=True):
        if chosen in known:
            p[chosen] = 1.0
        else:
            p[:] = next_distribution(slate, known)
    return distributions


def next_distribution(slate: Slate, known: list[int]) -> NDArray[np.float64]:
    """Return the probabilities of a slot that nothing is pinned to, given those known before it, shape (c,).

    All are 0 when no candidate is open.
    """
    p, is_open = np.zeros(len(slate.candidates)), _open(slate, known)
    if is_open.any():
        p[is_open] = _mixture(slate, known, is_open)
    return p


def uniform_shares(slate: Slate) -> NDArray[np.float64]:
    """Return, per slot, P(drawn from the uniform part | chosen), shape (n,): (ε / open candidates) / propensity.

    What the uniform part draws does not depend on what the ranker thinks, so rows weighted by these shares tell how
    slots differ rather than how items do. Nothing of a pin is uniform.
    """
    left = [np.inf if chosen in known else _open(slate, known).sum() for chosen, known in _slots(slate)]
    shares: NDArray[np.float64] = slate.epsilon / (np.array(left) * np.array(slate.propensities, np.float64))
    return shares


def redundancies(slate: Slate) -> list[float]:
    """Return how redundant each slot's item is to those known before it, 0 to 1; of what is pinned nothing is.

    λ times this is taken off its utility, so that the draw weighs what is left.
    """
    groups = groups_of(slate)
    return [
        0.0 if chosen in known else float(_redundancy(groups, groups[[chosen]], known)[0])
        for chosen, known in _slots(slate)
    ]


def _redundancy(groups: NDArray[np.int32], of: NDArray[np.int32], known: list[int]) -> NDArray[np.float64]:
    """Return the share of category and brand that rows of groups (k, 2) have in common with the known, (k,)."""
    chosen = groups[known] if known else np.full((1, 2), -1, np.int32)
    same = (of[:, None, :] == chosen) & (chosen >= 0)  # (k, known, 2)
    mean: NDArray[np.float64] = same.mean(axis=(1, 2))
    return mean


def _slots(slate: Slate) -> Iterator[tuple[int, list[int]]]:
    """Yield, per slot: the chosen candidate, and those known before it, pins from the start."""
    known = [candidate for candidate in slate.pins.values() if candidate in slate.slots]
    for chosen in slate.slots:
        yield chosen, known
        if chosen not in known:
            known = [*known, chosen]


def _open(slate: Slate, known: list[int]) -> NDArray[np.bool_]:
    """Return which candidates may still be chosen, (c,)."""
    groups, is_open = groups_of(slate), _mask(slate.eligible)
    is_open[known] = False
    caps = [(groups[:, g], cap) for g, cap in enumerate((slate.category_cap, slate.brand_cap)) if cap is not None]
    if (limits := limits_of(slate)) is not None:
        caps += zip(limits.groups.T, limits.most.tolist(), strict=True)
    for column, cap in caps:
        codes, counts = np.unique(column[known], return_counts=True)
        is_open &= ~np.isin(column, codes[(codes >= 0) & (counts >= cap)])
    return is_open


def _mixture(slate: Slate, known: list[int], is_open: NDArray[np.bool_]) -> NDArray[np.float64]:
    groups = groups_of(slate)
    redundancy = _redundancy(groups, groups[is_open], known)
    exponents = (np.frombuffer(slate.utilities)[is_open] - slate.diversity * redundancy) / slate.tau
    weights = np.exp(exponents - exponents.max())
    new = _mask(slate.pool)[is_open] if slate.pool else np.zeros(len(weights), bool)
    share = slate.pool_share if new.any() else 0.0
    softmax = (1.0 - slate.epsilon - share) * weights / weights.sum()
    mixture: NDArray[np.float64] = softmax + slate.epsilon / len(weights) + share * new / max(new.sum(), 1)
    return mixture


def groups_of(slate: Slate) -> NDArray[np.int32]:
    """Return the category and brand codes of a slate's candidates, (c, 2)."""
    return np.frombuffer(slate.groups, np.int32).reshape(-1, 2)


def limits_of(slate: Slate) -> Limits | None:
    """Return the caps that rules had put on a slate."""
    if not slate.caps:
        return None
    groups = np.frombuffer(slate.cap_groups, np.int32).reshape(-1, len(slate.caps))
    return Limits(groups, np.array(slate.caps, np.int64))


def _mask(stored: bytes) -> NDArray[np.bool_]:
    return np.frombuffer(stored, np.uint8).astype(np.bool_)
