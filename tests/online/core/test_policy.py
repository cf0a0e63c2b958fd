from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from online.core.policy import SlotPolicy, draw_slate, uniforms


def reference(
    utilities: list[float], groups: list[tuple[int, int]], eligible: list[bool], n: int, policy: SlotPolicy, seed: int
) -> tuple[list[int], list[float]]:
    """The formula of the docstring, candidate by candidate, in plain Python."""
    chosen: list[int] = []
    propensities: list[float] = []
    draws = uniforms(seed, n)
    for slot in range(min(n, sum(eligible))):
        left = [i for i, ok in enumerate(eligible) if ok and i not in chosen]
        exponents = []
        for i in left:
            shared = sum(groups[i][g] >= 0 and groups[i][g] == groups[j][g] for j in chosen for g in (0, 1))
            redundancy = shared / (2 * len(chosen)) if chosen else 0.0
            exponents.append((utilities[i] - policy.diversity * redundancy) / policy.tau)
        top = max(exponents)
        weights = [math.exp(e - top) for e in exponents]
        p = [(1 - policy.epsilon) * w / sum(weights) + policy.epsilon / len(left) for w in weights]
        reached, pick = 0.0, len(left) - 1
        for k, share in enumerate(p):
            reached += share
            if reached > draws[slot]:
                pick = k
                break
        chosen.append(left[pick])
        propensities.append(p[pick])
    return chosen, propensities


CANDIDATES = st.lists(
    st.tuples(st.floats(-5, 5), st.integers(-1, 3), st.integers(-1, 3), st.booleans()), min_size=1, max_size=30
)


@settings(deadline=None, max_examples=200)
@given(CANDIDATES, st.integers(1, 25), st.floats(0.05, 3), st.floats(0, 1), st.floats(0, 3), st.integers(0, 2**63 - 1))
def test_the_kernel_equals_the_plain_formula(
    rows: list[tuple[float, int, int, bool]], n: int, tau: float, epsilon: float, diversity: float, seed: int
) -> None:
    policy = SlotPolicy(tau, epsilon, diversity)
    utilities, groups, eligible = [r[0] for r in rows], [(r[1], r[2]) for r in rows], [r[3] for r in rows]

    draw = draw_slate(np.array(utilities), np.array(groups, np.int32), np.array(eligible), n, policy, seed)
    slots, propensities = reference(utilities, groups, eligible, n, policy, seed)

    assert draw.slots.tolist() == slots
    assert draw.propensities == pytest.approx(propensities, rel=1e-9)


def test_propensities_are_the_frequencies_of_the_draws() -> None:
    utilities = np.array([0.5, 0.2, 0.0, -0.3, 9.0])
    groups = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [2, 2]], np.int32)
    eligible = np.array([True, True, True, True, False])
    policy = SlotPolicy(tau=0.5, epsilon=0.1, diversity=0.4)
    n, runs = 3, 20_000
    seen: Counter[tuple[int, ...]] = Counter()
    expected: dict[tuple[int, ...], float] = {}
    for seed in range(runs):
        draw = draw_slate(utilities, groups, eligible, n, policy, seed)
        key = tuple(draw.slots.tolist())
        seen[key] += 1
        expected[key] = float(np.prod(draw.propensities))

    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-9)
    chi2 = sum((seen[k] - runs * p) ** 2 / (runs * p) for k, p in expected.items())
    assert chi2 < 60.0  # 23 degrees of freedom: the 0.9999 quantile is 55


def test_an_ineligible_candidate_is_never_drawn() -> None:
    utilities: NDArray[np.float64] = np.array([100.0, 0.0])
    for seed in range(200):
        draw = draw_slate(
            utilities, np.full((2, 2), -1, np.int32), np.array([False, True]), 2, SlotPolicy(epsilon=1.0), seed
        )
        assert draw.slots.tolist() == [1]


def test_diversity_spreads_categories() -> None:
    utilities = np.array([1.0, 0.9, 0.8, 0.5])
    groups = np.array([[0, 0], [0, 0], [0, 0], [1, 1]], np.int32)
    policy = SlotPolicy(tau=0.01, epsilon=0.0, diversity=2.0)

    draw = draw_slate(utilities, groups, np.ones(4, bool), 2, policy, seed=1)

    assert draw.slots.tolist() == [0, 3]


@pytest.mark.parametrize("bad", [{"tau": 0.0}, {"epsilon": 1.5}, {"diversity": -1.0}])
def test_parameters_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need tau"):
        SlotPolicy(**bad)
