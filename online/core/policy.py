"""The slate policy: slot by slot, with exact propensities.

Slot k draws from p = (1 − ε)·softmax((u − λ·r)/τ) + ε·uniform over the candidates still eligible, where u is a
candidate's utility and r its redundancy to those chosen for the slots before: how much of them shares its category
and its brand. The form is the Plackett-Luce slot policy with a uniform floor; the redundancy term is that of maximal
marginal relevance (Carbonell & Goldstein, SIGIR 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernel import kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class SlotPolicy:
    """Temperature τ > 0, uniform share ε in [0, 1] and diversity weight λ ≥ 0 of the slot draws."""

    tau: float = 0.25
    epsilon: float = 0.05
    diversity: float = 0.3

    def __post_init__(self) -> None:
        if not (self.tau > 0 and 0 <= self.epsilon <= 1 and self.diversity >= 0):
            msg = f"need tau > 0, 0 <= epsilon <= 1 and diversity >= 0, not {self}"
            raise ValueError(msg)


class Draw(NamedTuple):
    """A drawn slate: candidate indexes by slot, and each one's propensity given the slots before it."""

    slots: NDArray[np.int32]  # (n,)
    propensities: NDArray[np.float64]  # (n,)


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
) -> Draw:
    """Draw up to n slots from the eligible candidates.

    Args:
        utilities: (c,) utilities of the candidates.
        groups: (c, 2) category and brand codes, negative for none.
        eligible: (c,) which candidates may be shown at all.
        n: slots wanted; fewer come back when fewer candidates are eligible.
        policy: τ, ε and λ.
        seed: of the draw; the same inputs and seed give the same slate.

    >>> draw = draw_slate(
    ...     np.array([2.0, 1.0, 9.0]), np.full((3, 2), -1, np.int32), np.array([True, True, False]),
    ...     2, SlotPolicy(tau=0.1, epsilon=0.0, diversity=0.0), seed=1)
    >>> draw.slots.tolist(), draw.propensities.round(3).tolist()
    ([0, 1], [1.0, 1.0])
    """
    n = min(n, int(np.count_nonzero(eligible)))
    slots, propensities = np.empty(n, np.int32), np.empty(n, np.float64)
    _draw(
        utilities, groups, eligible.copy(), uniforms(seed, n),
        policy.tau, policy.epsilon, policy.diversity, slots, propensities,
    )  # fmt: skip
    return Draw(slots, propensities)


@kernel
def _draw(
    utilities: NDArray[np.float64],  # (c,)
    groups: NDArray[np.int32],  # (c, 2)
    open_: NDArray[np.bool_],  # (c,) becomes False for the chosen
    draws: NDArray[np.float64],  # (n,)
    tau: float,
    epsilon: float,
    diversity: float,
    slots: NDArray[np.int32],  # (n,) out
    propensities: NDArray[np.float64],  # (n,) out
) -> None:
    candidates = utilities.shape[0]
    shared = np.zeros(candidates)  # chosen candidates that share category, plus those that share brand
    weights = np.empty(candidates)
    for slot in range(slots.shape[0]):
        scale = diversity / (2.0 * slot) if slot > 0 else 0.0
        best, left = -np.inf, 0
        for i in range(candidates):
            if open_[i]:
                left += 1
                best = max(best, (utilities[i] - scale * shared[i]) / tau)
        total = 0.0
        for i in range(candidates):
            if open_[i]:
                weights[i] = np.exp((utilities[i] - scale * shared[i]) / tau - best)
                total += weights[i]
        target, chosen, p_chosen, reached = draws[slot], -1, 0.0, 0.0
        for i in range(candidates):
            if open_[i]:
                p = (1.0 - epsilon) * weights[i] / total + epsilon / left
                reached += p
                chosen, p_chosen = i, p
                if reached > target:
                    break
        slots[slot], propensities[slot] = chosen, p_chosen
        open_[chosen] = False
        for i in range(candidates):
            for g in range(2):
                if groups[i, g] >= 0 and groups[i, g] == groups[chosen, g]:
                    shared[i] += 1.0
