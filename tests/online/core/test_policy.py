from __future__ import annotations

import math
from collections import Counter
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from online.core.policy import Draw, Limits, SlotPolicy, draw_slate, uniforms


def reference(
    utilities: list[float],
    groups: list[tuple[int, int]],
    eligible: list[bool],
    n: int,
    policy: SlotPolicy,
    seed: int,
    pool: list[bool],
    pins: dict[int, int],
    further: list[list[int]],
    most: list[int],
) -> tuple[list[int], list[float]]:
    """The formula of the docstring, candidate by candidate, in plain Python."""
    waiting = [i for slot, i in sorted(pins.items()) if slot < n and eligible[i]]
    chosen: list[int] = []
    propensities: list[float] = []
    for slot, draw in enumerate(uniforms(seed, n)):
        known = chosen + waiting

        def shared(i: int, g: int, known: list[int] = known) -> int:
            return sum(groups[i][g] >= 0 and groups[i][g] == groups[j][g] for j in known)

        caps = [(g, cap) for g, cap in enumerate((policy.category_cap, policy.brand_cap)) if cap is not None]

        def fills(i: int, g: int, known: list[int] = known) -> int:
            return sum(further[i][g] >= 0 and further[i][g] == further[j][g] for j in known)

        left = [
            i
            for i, ok in enumerate(eligible)
            if ok
            and i not in known
            and all(shared(i, g) < cap for g, cap in caps)
            and all(fills(i, g) < cap for g, cap in enumerate(most))
        ]
        if waiting and (pins.get(slot) == waiting[0] or not left):
            chosen.append(waiting.pop(0))
            propensities.append(1.0)
            continue
        if not left:
            break
        exponents = []
        for i in left:
            redundancy = (shared(i, 0) + shared(i, 1)) / (2 * len(known)) if known else 0.0
            exponents.append((utilities[i] - policy.diversity * redundancy) / policy.tau)
        weights = [math.exp(e - max(exponents)) for e in exponents]
        fresh = sum(pool[i] for i in left)
        share = policy.pool if fresh else 0.0
        p = [
            (1 - policy.epsilon - share) * w / sum(weights)
            + policy.epsilon / len(left)
            + pool[i] * share / max(fresh, 1)
            for i, w in zip(left, weights, strict=True)
        ]
        reached = list(accumulate(p))
        pick = next((k for k, r in enumerate(reached) if r > draw), len(left) - 1)
        chosen.append(left[pick])
        propensities.append(p[pick])
    return chosen, propensities


CANDIDATES = st.lists(
    st.tuples(
        st.floats(-5, 5),
        st.integers(-1, 3),
        st.integers(-1, 3),
        st.booleans(),
        st.booleans(),
        st.tuples(st.integers(-1, 2), st.integers(-1, 0)),
    ),
    min_size=1,
    max_size=30,
)
CAP = st.none() | st.integers(1, 4)


@st.composite
def policies(draw: st.DrawFn) -> SlotPolicy:
    epsilon = draw(st.floats(0, 1))
    tau, diversity, part = draw(st.floats(0.05, 3)), draw(st.floats(0, 3)), draw(st.floats(0, 1))
    return SlotPolicy(tau, epsilon, diversity, part * (1 - epsilon), draw(CAP), draw(CAP))


@settings(deadline=None, max_examples=300)
@given(
    CANDIDATES,
    st.integers(1, 25),
    policies(),
    st.integers(0, 2**63 - 1),
    st.dictionaries(st.integers(0, 25), st.integers(0, 29), max_size=4),
    st.lists(st.integers(1, 4), max_size=2),
)
def test_the_kernel_equals_the_plain_formula(
    rows: list[tuple[float, int, int, bool, bool, tuple[int, int]]],
    n: int,
    policy: SlotPolicy,
    seed: int,
    wished: dict[int, int],
    most: list[int],
) -> None:
    utilities, groups = [r[0] for r in rows], [(r[1], r[2]) for r in rows]
    eligible, pool = [r[3] for r in rows], [r[4] for r in rows]
    further = [list(r[5][: len(most)]) for r in rows]
    limits = Limits(np.array(further, np.int32), np.array(most, np.int64)) if most else None
    pins = {slot: i for i, slot in {i % len(rows): slot for slot, i in wished.items()}.items()}  # each candidate once

    draw = draw_slate(
        np.array(utilities), np.array(groups, np.int32), np.array(eligible), n, policy, seed,
        pool=np.array(pool), pins=pins, limits=limits,
    )  # fmt: skip
    slots, propensities = reference(utilities, groups, eligible, n, policy, seed, pool, pins, further, most)

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


def plain(utilities: list[float], n: int, policy: SlotPolicy, seed: int = 1, **extra: Any) -> Draw:
    """Draw from candidates without groups, all eligible."""
    c = len(utilities)
    return draw_slate(np.array(utilities), np.full((c, 2), -1, np.int32), np.ones(c, bool), n, policy, seed, **extra)


def test_a_pinned_candidate_has_its_slot_for_certain_and_no_other() -> None:
    for seed in range(50):
        draw = plain([9.0, 0.0, 0.0, 0.0], 4, SlotPolicy(epsilon=1.0), seed, pins={2: 0})

        assert draw.slots[2] == 0
        assert draw.propensities.tolist() == pytest.approx([1 / 3, 1 / 2, 1.0, 1.0])


def test_pins_move_up_when_nothing_else_is_open() -> None:
    draw = plain([1.0, 2.0, 3.0], 10, SlotPolicy(), pins={4: 0, 7: 2})

    assert draw.slots.tolist() == [1, 0, 2]
    assert draw.propensities.tolist() == [1.0, 1.0, 1.0]


def test_a_pin_that_is_not_eligible_or_beyond_the_slate_is_as_if_not_there() -> None:
    values, groups, eligible = np.array([1.0, 2.0, 3.0]), np.full((3, 2), -1, np.int32), np.array([True, False, True])

    draw = draw_slate(values, groups, eligible, 1, SlotPolicy(tau=1e-6, epsilon=0.0), 1, pins={0: 1, 1: 0})

    assert draw.slots.tolist() == [2]


def test_a_full_category_leaves_the_support_and_pins_fill_it_first() -> None:
    values = np.array([9.0, 8.0, 7.0, 0.0])
    groups = np.array([[0, -1], [0, -1], [0, -1], [1, -1]], np.int32)
    policy = SlotPolicy(tau=1e-6, epsilon=0.0, category_cap=2)

    free = draw_slate(values, groups, np.ones(4, bool), 4, policy, 1)
    pinned = draw_slate(values, groups, np.ones(4, bool), 4, policy, 1, pins={2: 2})

    assert free.slots.tolist() == [0, 1, 3]
    assert pinned.slots.tolist() == [0, 3, 2]


def test_new_items_get_their_share_until_none_is_left() -> None:
    policy = SlotPolicy(tau=1.0, epsilon=0.1, pool=0.3)
    new = np.array([True, False, False])

    draws = [plain([0.0, 0.0, 0.0], 3, policy, seed, pool=new) for seed in range(300)]

    in_softmax = (1.0 - 0.1 - 0.3) / 3 + 0.1 / 3
    for draw in draws:
        first = in_softmax + (0.3 if draw.slots[0] == 0 else 0.0)
        assert draw.propensities[0] == pytest.approx(first)
        if draw.slots[0] == 0:  # the pool is exhausted: what it had goes to the softmax
            assert draw.propensities[1] == pytest.approx(1 / 2)
    assert {int(draw.slots[0]) for draw in draws} == {0, 1, 2}
    assert plain([0.0] * 3, 1, policy, pool=np.zeros(3, bool)).propensities[0] == pytest.approx(1 / 3)


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


@pytest.mark.parametrize(
    "bad",
    [
        {"tau": 0.0},
        {"epsilon": 1.5},
        {"diversity": -1.0},
        {"pool": 0.5, "epsilon": 0.6},
        {"pool": -0.1},
        {"brand_cap": 0},
    ],
)
def test_parameters_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need tau|need 0 <= pool|a cap is"):
        SlotPolicy(**bad)
