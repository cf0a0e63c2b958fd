from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from example_slate import example_slate
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from online.core.policy import Limits, SlotPolicy, draw_slate
from online.core.propensity import redrawn, redundancies, slot_distributions, slot_policy, uniform_shares
from schemas.slate import Slate, decode_slate, encode_slate


def drawn(
    utilities: list[float],
    n: int,
    policy: SlotPolicy,
    *,
    seed: int = 1,
    groups: Any = None,
    eligible: Any = None,
    pool: Any = None,
    pins: dict[int, int] | None = None,
    caps: list[int] | None = None,
    cap_groups: Any = None,
) -> Slate:
    """Draw a slate and return it as the log has it."""
    c = len(utilities)
    codes = np.full((c, 2), -1, np.int32) if groups is None else np.array(groups, np.int32)
    mask, new = np.array([True] * c if eligible is None else eligible), np.array([False] * c if pool is None else pool)
    pinned = {slot: i for slot, i in (pins or {}).items() if mask[i] and slot < n}
    limits = Limits(np.array(cap_groups, np.int32), np.array(caps, np.int64)) if caps else None
    draw = draw_slate(np.array(utilities), codes, mask, n, policy, seed, pool=new, pins=pinned, limits=limits)
    slate = example_slate(
        n=n,
        candidates=[f"i{i}" for i in range(c)],
        utilities=np.array(utilities).tobytes(),
        groups=codes.tobytes(),
        eligible=mask.astype(np.uint8).tobytes(),
        pool=new.astype(np.uint8).tobytes(),
        tau=policy.tau,
        epsilon=policy.epsilon,
        diversity=policy.diversity,
        pool_share=policy.pool,
        category_cap=policy.category_cap,
        brand_cap=policy.brand_cap,
        pins=pinned,
        caps=caps or [],
        cap_groups=b"" if limits is None else limits.groups.tobytes(),
        seed=seed,
        slots=draw.slots.tolist(),
        propensities=draw.propensities.tolist(),
    )
    return decode_slate(encode_slate(slate))


CAP = st.none() | st.integers(1, 3)


@st.composite
def slates(draw: st.DrawFn) -> Slate:
    group = st.integers(-1, 3)
    row = st.tuples(st.floats(-3, 3), group, group, st.booleans(), st.booleans(), group, group)
    caps = draw(st.lists(st.integers(1, 3), max_size=2))
    rows = draw(st.lists(row, min_size=1, max_size=20))
    epsilon = draw(st.sampled_from([0.0, 0.05, 1.0]))
    pool = draw(st.floats(0, 1)) * (1 - epsilon)
    policy = SlotPolicy(draw(st.floats(0.1, 2)), epsilon, draw(st.floats(0, 2)), pool, draw(CAP), draw(CAP))
    by_candidate = draw(st.dictionaries(st.integers(0, len(rows) - 1), st.integers(0, 12), max_size=3))
    return drawn(
        [r[0] for r in rows],
        draw(st.integers(1, 12)),
        policy,
        seed=draw(st.integers(0, 2**63 - 1)),
        groups=[r[1:3] for r in rows],
        eligible=[r[3] for r in rows],
        pool=[r[4] for r in rows],
        pins={slot: i for i, slot in by_candidate.items()},
        caps=caps,
        cap_groups=[r[5 : 5 + len(caps)] for r in rows],
    )


@settings(deadline=None)
@given(slates())
def test_a_record_gives_the_draw_again_and_the_distribution_that_every_slot_came_from(slate: Slate) -> None:
    again, distributions = redrawn(slate), slot_distributions(slate)

    assert (again.slots.tolist(), again.propensities.tolist()) == (slate.slots, slate.propensities)
    assert distributions.sum(axis=1) == pytest.approx(np.ones(len(slate.slots)))
    assert distributions[np.arange(len(slate.slots)), slate.slots] == pytest.approx(slate.propensities, rel=1e-9)


@settings(deadline=None)
@given(slates())
def test_the_uniform_share_is_what_every_open_candidate_has_alike(slate: Slate) -> None:
    for share, p, row in zip(uniform_shares(slate), slate.propensities, slot_distributions(slate), strict=True):
        if slate.epsilon == 1.0 and p < 1.0:
            assert share == pytest.approx(1.0)
        elif 0.0 < slate.epsilon < 1.0:
            assert share * p <= min(row[row > 0.0]) * (1 + 1e-9)
        elif slate.epsilon == 0.0:
            assert share == 0.0


def test_equal_utilities_come_from_the_uniform_part_as_often_as_it_is_asked() -> None:
    slate = drawn([1.0] * 6, 4, SlotPolicy(epsilon=0.2), eligible=[True] * 5 + [False])

    assert uniform_shares(slate) == pytest.approx([0.2] * 4)


def test_what_the_softmax_never_draws_came_from_the_uniform_part() -> None:
    slate = drawn([100.0, 0.0], 2, SlotPolicy(epsilon=0.5))
    favourite = slate.slots.index(0)

    assert uniform_shares(slate)[favourite] == pytest.approx(0.25 / 0.75 if favourite == 0 else 0.5)
    assert uniform_shares(slate)[1 - favourite] == pytest.approx(0.5 if favourite == 0 else 1.0)


def test_a_cap_leaves_fewer_to_share_and_a_pin_shares_nothing() -> None:
    policy = SlotPolicy(tau=1e-3, epsilon=0.3, diversity=0.0, category_cap=1)
    slate = drawn([9.0, 9.0, 9.0, 0.0, 0.0], 3, policy, groups=[[0, -1]] * 3 + [[1, -1]] * 2, pins={1: 4})

    assert uniform_shares(slate)[0] == pytest.approx(0.1 / (0.7 / 3 + 0.1))  # category 1 is full: three are open
    assert uniform_shares(slate)[1] == 0.0
    assert len(slate.slots) == 2


def test_a_slate_from_before_pools_pins_and_caps_has_none() -> None:
    policy = slot_policy(example_slate(tau=0.5, epsilon=0.1, diversity=0.2))

    assert policy == SlotPolicy(0.5, 0.1, 0.2)
    assert len(uniform_shares(example_slate())) == 0
    assert slot_distributions(example_slate()).shape == (0, 0)


def test_what_a_record_denies_has_no_probability() -> None:
    slate = drawn([1.0, 2.0], 2, SlotPolicy())
    eligible: NDArray[np.uint8] = np.array([1, 0], np.uint8)
    slate.eligible = eligible.tobytes()

    assert slot_distributions(slate)[slate.slots.index(1), 1] == 0.0


def test_redundancy_is_the_share_of_category_and_brand_that_the_slots_before_have_in_common() -> None:
    policy = SlotPolicy(tau=0.01, epsilon=0.0, diversity=0.0)
    groups = [[0, 0], [0, 0], [0, 1], [-1, -1]]

    assert redundancies(drawn([4.0, 3.0, 2.0, 1.0], 4, policy, groups=groups)) == [0.0, 1.0, 0.5, 0.0]
    assert redundancies(drawn([4.0, 3.0, 2.0, 1.0], 2, policy, groups=groups, pins={1: 1})) == [1.0, 0.0]
