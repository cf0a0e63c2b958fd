"""The slate policy: slot by slot, with exact propensities.

Slot k draws from p = (1 − ε − b)·softmax((u − λ·r)/τ) + ε·uniform + b·uniform over the pool, over the candidates still
open, where u is a candidate's utility and r its redundancy to those chosen already, pinned ones included: how much of
them shares its category and its brand. The pool holds the new items of the candidates; while none of them is open,
b is 0. The form is the Plackett-Luce slot policy with uniform floors; the redundancy term is that of maximal marginal
relevance (Carbonell & Goldstein, SIGIR 1998).

A pinned slot shows its candidate with propensity 1; nobody else draws it. A category, a brand or a group of `Limits`
that fills its cap, pins counted first, leaves the support.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TINY = 1e-100  # a sum of weights below loses candidates that count


@dataclass(frozen=True, slots=True)
class SlotPolicy:
    """Temperature τ > 0, uniform share ε in [0, 1] and diversity weight λ ≥ 0 of the slot draws.

    `pool` is b, the share of the draws that the new items get, at most 1 − ε. A cap is the most slots that one
    category, or one brand, may fill.
    """

    tau: float = 0.25
    epsilon: float = 0.05
    diversity: float = 0.3
    pool: float = 0.0
    category_cap: int | None = None
    brand_cap: int | None = None

    def __post_init__(self) -> None:
        if not (self.tau > 0 and 0 <= self.epsilon <= 1 and self.diversity >= 0):
            msg = f"need tau > 0, 0 <= epsilon <= 1 and diversity >= 0, not {self}"
            raise ValueError(msg)
        if not 0 <= self.pool <= 1 - self.epsilon:
            msg = f"need 0 <= pool <= 1 - epsilon, not {self}"
            raise ValueError(msg)
        if any(cap is not None and cap < 1 for cap in (self.category_cap, self.brand_cap)):
            msg = f"a cap is at least 1, not {self}"
            raise ValueError(msg)


class Draw(NamedTuple):
    """A drawn slate: candidate indexes by slot, and each one's propensity given the slots before it."""

    slots: NDArray[np.int32]  # (n,)
    propensities: NDArray[np.float64]  # (n,)


class Limits(NamedTuple):
    """Caps beside those of the policy: each candidate's group (c, k), negative for none, and each cap's most (k,)."""

    groups: NDArray[np.int32]
    most: NDArray[np.int64]


def together(one: Limits | None, other: Limits | None) -> Limits | None:
    """Return the caps of both, those of the first before those of the other."""
    if one is None or other is None:
        return one or other
    return Limits(np.concatenate([one.groups, other.groups], axis=1), np.concatenate([one.most, other.most]))


def one_of_each(codes: NDArray[np.int32]) -> Limits | None:
    """Return the cap of one slot for each code of the candidates (c,), negative for none; None if it binds nobody.

    >>> one_of_each(np.array([3, -1, 3], np.int32)).most.tolist(), one_of_each(np.array([3, -1, -1], np.int32))
    ([1], None)
    """
    grouped = codes[codes >= 0]
    if len(np.unique(grouped)) == len(grouped):
        return None
    return Limits(codes[:, None], np.ones(1, np.int64))


def uniforms(seed: int, n: int) -> NDArray[np.float64]:
    """Return n uniform numbers in [0, 1): splitmix64 of the seed (Steele, Lea, Flood, OOPSLA 2014).

    >>> bool((uniforms(7, 3) == uniforms(7, 4)[:3]).all())
    True
    """
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + _GOLDEN * np.arange(1, n + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_slate(
    utilities: NDArray[np.float64],
    groups: NDArray[np.int32],
    eligible: NDArray[np.bool_],
    n: int,
    policy: SlotPolicy,
    seed: int,
    *,
    pool: NDArray[np.bool_] | None = None,
    pins: Mapping[int, int] | None = None,
    limits: Limits | None = None,
) -> Draw:
    """Draw up to n slots from the eligible candidates.

    Args:
        utilities: (c,) utilities of the candidates.
        groups: (c, 2) category and brand codes, negative for none.
        eligible: (c,) which candidates may be shown at all.
        n: slots wanted; fewer come back when no candidate is open any more.
        policy: τ, ε, λ, the pool's share and the caps.
        seed: of the draw; the same inputs and seed give the same slate.
        pool: (c,) which candidates are new items; None for none.
        pins: slot, counted from 0, -> candidate. One that is not eligible is not shown, one beyond the last slot
            neither; those left when nothing else is open move up.
        limits: further caps; unlike category and brand, their groups make nobody redundant.

    >>> draw = draw_slate(
    ...     np.array([2.0, 1.0, 9.0]), np.full((3, 2), -1, np.int32), np.array([True, True, False]),
    ...     2, SlotPolicy(tau=0.1, epsilon=0.0, diversity=0.0), seed=1)
    >>> draw.slots.tolist(), draw.propensities.round(3).tolist()
    ([0, 1], [1.0, 1.0])
    """
    slots, propensities = np.empty(n, np.int32), np.empty(n, np.float64)
    pinned = [(slot, i) for slot, i in sorted((pins or {}).items()) if slot < n and eligible[i]]
    caps = np.array([n if cap is None else cap for cap in (policy.category_cap, policy.brand_cap)], np.int64)
    if limits is not None:
        groups, caps = np.concatenate([groups, limits.groups], axis=1), np.concatenate([caps, limits.most])
    filled = _draw(
        utilities, groups, eligible.copy(), np.zeros(len(eligible), np.bool_) if pool is None else pool,
        np.array(pinned, np.int32).reshape(-1, 2), caps, uniforms(seed, n),
        policy.tau, policy.epsilon, policy.diversity, policy.pool, slots, propensities,
    )  # fmt: skip
    return Draw(slots[:filled], propensities[:filled])


def most_slots(
    groups: NDArray[np.int32], eligible: NDArray[np.bool_], policy: SlotPolicy, limits: Limits | None = None
) -> int:
    """Return how many slots the eligible candidates can fill at most: as many as each cap alone lets them.

    >>> groups = np.array([[0, -1], [0, -1], [0, -1], [-1, -1]], np.int32)
    >>> most_slots(groups, np.ones(4, bool), SlotPolicy(category_cap=2))
    3
    """
    most = int(np.count_nonzero(eligible))
    caps = [(groups[:, g], cap) for g, cap in enumerate((policy.category_cap, policy.brand_cap))]
    if limits is not None:
        caps += zip(limits.groups.T, limits.most.tolist(), strict=True)
    for column, cap in caps:
        if cap is not None:
            codes, counts = np.unique(column[eligible], return_counts=True)
            most = min(most, int(np.where(codes < 0, counts, np.minimum(counts, cap)).sum()))
    return most


@kernel
def _draw(
    utilities: NDArray[np.float64],  # (c,)
    groups: NDArray[np.int32],  # (c, 2 + k): category, brand, then those of further caps
    open_: NDArray[np.bool_],  # (c,) becomes False for the chosen, the pinned, and members of full groups
    pool: NDArray[np.bool_],  # (c,)
    pins: NDArray[np.int32],  # (p, 2) slot and candidate, in order of slot
    caps: NDArray[np.int64],  # (2 + k,)
    draws: NDArray[np.float64],  # (n,)
    tau: float,
    epsilon: float,
    diversity: float,
    pool_share: float,
    slots: NDArray[np.int32],  # (n,) out
    propensities: NDArray[np.float64],  # (n,) out
) -> int:
    candidates = utilities.shape[0]
    taken = np.zeros(groups.shape, np.int64)  # the chosen that share each group
    bases, weights = np.zeros(candidates), np.empty(candidates)
    best = -np.inf
    for i in range(candidates):
        if open_[i]:
            best = max(best, utilities[i])
    for i in range(candidates):
        if open_[i]:
            bases[i] = np.exp((utilities[i] - best) / tau)
    for pin in range(pins.shape[0]):
        _take(pins[pin, 1], groups, caps, open_, taken)
    next_pin, known = 0, pins.shape[0]
    n = len(slots)
    for slot in range(n):
        scale = diversity / (2.0 * known) if known > 0 else 0.0
        left, fresh = 0, 0
        for i in range(candidates):
            if open_[i]:
                left += 1
                fresh += pool[i]
        is_pinned = next_pin < pins.shape[0] and (pins[next_pin, 0] == slot or left == 0)
        if is_pinned:
            slots[slot], propensities[slot] = pins[next_pin, 1], 1.0
            next_pin += 1
            continue
        if left == 0:
            return slot
        total = _weigh(bases, taken, open_, scale / tau, known, weights)
        if total < _TINY:  # the bases are of the best at the start, long gone
            total = _weigh_anew(utilities, taken, open_, scale, tau, weights)
        share = pool_share if fresh > 0 else 0.0
        of_weight, of_all = (1.0 - epsilon - share) / total, epsilon / left
        target, chosen, p_chosen, reached = draws[slot], -1, 0.0, 0.0
        for i in range(candidates):
            if open_[i]:
                p = of_weight * weights[i] + of_all
                if pool[i]:
                    p += share / fresh
                reached += p
                chosen, p_chosen = i, p
                if reached > target:
                    break
        slots[slot], propensities[slot] = chosen, p_chosen
        known += 1
        _take(chosen, groups, caps, open_, taken)
    return n


@kernel
def _weigh(
    bases: NDArray[np.float64],  # (c,) exp((u − best u) / τ)
    taken: NDArray[np.int64],  # (c, 2)
    open_: NDArray[np.bool_],
    damping: float,  # λ / (2 τ known)
    known: int,
    weights: NDArray[np.float64],  # (c,) out
) -> float:
    """Weigh the open candidates, by a product each; return the sum."""
    factors = np.exp(-damping * np.arange(2 * known + 1))
    total = 0.0
    for i in range(len(bases)):
        if open_[i]:
            weights[i] = bases[i] * factors[taken[i, 0] + taken[i, 1]]
            total += weights[i]
    return total


@kernel
def _weigh_anew(
    utilities: NDArray[np.float64],
    taken: NDArray[np.int64],
    open_: NDArray[np.bool_],
    scale: float,
    tau: float,
    weights: NDArray[np.float64],
) -> float:
    """Weigh the open candidates against the best of them, by an exponential each; return the sum."""
    best, total = -np.inf, 0.0
    for i in range(len(utilities)):
        if open_[i]:
            weights[i] = (utilities[i] - scale * (taken[i, 0] + taken[i, 1])) / tau
            best = max(best, weights[i])
    for i in range(len(utilities)):
        if open_[i]:
            weights[i] = np.exp(weights[i] - best)
            total += weights[i]
    return total


@kernel
def _take(
    chosen: int,
    groups: NDArray[np.int32],
    caps: NDArray[np.int64],
    open_: NDArray[np.bool_],
    taken: NDArray[np.int64],
) -> None:
    open_[chosen] = False
    for i in range(groups.shape[0]):
        for g in range(groups.shape[1]):
            if groups[i, g] >= 0 and groups[i, g] == groups[chosen, g]:
                taken[i, g] += 1
                if taken[i, g] >= caps[g]:
                    open_[i] = False
