"""Variants of a product in slates: one of each `group_id`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from online.core.decay import Decay
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES
from online.core.propensity import redrawn, slot_distributions
from online.core.record import TYPE_CODES, UserRecord
from online.core.rules.rule_set import RuleSet, compile_rule
from online.core.update import Update
from online.pipeline import SlateRequest, recommend
from online.world import World
from schemas.item import Item
from schemas.rule import Rule
from schemas.slate import Slate, decode_slate, encode_slate

T0 = Decay().landmark(1_700_000_000.0)
RECORD = UserRecord(landmark=T0, counts={TYPE_CODES["click"]: 1})
ASKED = SlateRequest(
    recommendation_id="0-r", partition=0, user_key="u1", surface="home", n=8, now=T0, served_at=T0, seed=3,
    policy=POLICIES["personal-1"], slots=SlotPolicy(diversity=0.0),
)  # fmt: skip


@pytest.fixture
def world() -> World:
    """Items i0 to i29, popular in that order: i0 to i11 are variants of four products, the others of none."""
    world = World(ItemTable(partitions=1))
    for n in range(30):
        group = f"g{n % 4}" if n < 12 else None
        world.table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0 - 1e6, group_id=group))
    world.apply(Update(0, 1, {f"i{n}": ItemStats(T0, [30.0 - n] * 3, {}, T0, T0) for n in range(30)}, []))
    world.refresh(T0)
    return world


def drawn(world: World, **asked: Any) -> Slate:
    return decode_slate(encode_slate(recommend(world, replace(ASKED, **asked), RECORD)))


def products(world: World, slate: Slate) -> list[str]:
    groups = [world.table.documents[slate.candidates[i]].group_id for i in slate.slots]
    return [group for group in groups if group is not None]


@pytest.mark.parametrize("seed", range(20))
def test_of_a_product_one_variant_is_shown(world: World, seed: int) -> None:
    slate = drawn(world, seed=seed)

    assert len(slate.slots) == 8
    assert len(set(products(world, slate))) == len(products(world, slate)) > 0


def test_propensities_are_exact_and_the_slate_is_drawn_again_from_what_is_logged(world: World) -> None:
    slate = drawn(world)

    assert redrawn(slate).slots.tolist() == slate.slots
    assert redrawn(slate).propensities.tolist() == slate.propensities
    distributions = slot_distributions(slate)
    np.testing.assert_allclose(distributions[range(8), slate.slots], slate.propensities, rtol=1e-9)
    np.testing.assert_allclose(distributions.sum(axis=1), 1.0)


def test_caps_of_rules_hold_beside(world: World) -> None:
    few = Rule(rule_id="few", action="cap", where="has(item.group_id)", most=2)
    world.rule_set = RuleSet.over([compile_rule(few)], world.table)

    slate = drawn(world)

    assert (slate.caps, redrawn(slate).slots.tolist()) == ([2, 1], slate.slots)
    assert len(products(world, slate)) == 2
    assert len(set(products(world, slate))) == 2


def test_the_rest_of_the_catalogue_fills_what_variants_leave_empty(world: World) -> None:
    asked = [f"i{n}" for n in range(12, 26)]

    slate = drawn(world, exclude_item_ids=asked)

    assert len(slate.slots) == 8  # four products and the four items left


def test_pinned_variants_and_the_callers_own_are_all_shown(world: World) -> None:
    pinning = replace(ASKED.policy, pins={1: "i0", 2: "i4"})

    assert [drawn(world, policy=pinning).candidates[i] for i in drawn(world, policy=pinning).slots[:2]] == ["i0", "i4"]
    listed = drawn(world, listed=["i0", "i4", "i8"], n=3)
    assert (len(listed.slots), listed.caps) == (3, [])


def test_where_no_product_has_two_candidates_nothing_is_logged(world: World) -> None:
    assert drawn(world, exclude_item_ids=["i0"], n=1).caps == [1]  # support is another matter than candidates
    for n in range(30):
        world.table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0 - 1e6, group_id=f"h{n}"))
    assert (drawn(world).caps, drawn(world).cap_groups) == ([], b"")
