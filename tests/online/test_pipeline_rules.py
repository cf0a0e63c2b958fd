from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from online.core.decay import Decay
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES, Policy
from online.core.propensity import redrawn, slot_distributions
from online.core.record import TYPE_CODES, UserRecord
from online.core.rules.in_force import InForce
from online.core.rules.request_fields import RequestFields
from online.core.rules.rule_set import RuleSet, compile_rule
from online.core.update import Update
from online.pipeline import SlateRequest, recommend
from online.world import World
from schemas.item import Item
from schemas.rule import Rule
from schemas.slate import FiredRule, Slate, decode_slate, encode_slate

T0 = Decay().landmark(1_700_000_000.0)
POLICY = POLICIES["personal-1"]


def shop() -> World:
    """Items i0 to i29, popular in that order, in three categories and two brands."""
    world = World(ItemTable(partitions=1))
    for n in range(30):
        categories, brand = [f"c{n % 3}"], f"b{n % 2}"
        world.table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0 - 1e6, categories=categories, brand=brand))
    world.apply(Update(0, 1, {f"i{n}": ItemStats(T0, [30.0 - n] * 3, {}, T0, T0) for n in range(30)}, []))
    world.refresh(T0)
    return world


def request(**fields: Any) -> SlateRequest:
    said = {name: fields.pop(name) for name in ("tau", "epsilon") if name in fields}
    base = SlateRequest(
        recommendation_id="0-r",
        partition=0,
        user_key="u1",
        surface="home",
        n=5,
        now=T0 + 60,
        served_at=T0 + 60,
        seed=3,
        policy=POLICY,
        slots=SlotPolicy(**said),
    )
    return replace(base, **fields)


def record(**fields: Any) -> UserRecord:
    return UserRecord(landmark=T0, position="9", counts={TYPE_CODES["click"]: 1}, **fields)


def shown(slate: Slate) -> list[str]:
    return [slate.candidates[i] for i in slate.slots]


def ruled(*rules: Rule, **request_fields: Any) -> Slate:
    """A slate of the shop under these rules, by way of the log."""
    world = shop()
    world.rule_set = RuleSet.over([compile_rule(rule, version=n) for n, rule in enumerate(rules, start=1)], world.table)
    return decode_slate(encode_slate(recommend(world, request(**request_fields), record(context={"device": "tv"}))))


def rule(action: Any, where: str | None = None, **fields: Any) -> Rule:
    return Rule(rule_id=fields.pop("rule_id", action), action=action, where=where, **fields)


def test_rules_keep_items_out_of_the_support_and_say_how_many() -> None:
    slate = ruled(rule("exclude", "item.brand == 'b0'"), rule("include", "'c1' in item.categories"), n=10)

    assert {(int(i[1:]) % 3, int(i[1:]) % 2) for i in shown(slate)} == {(1, 1)}
    eligible = [i for i, ok in zip(slate.candidates, slate.eligible, strict=True) if ok]
    assert all(int(i[1:]) % 6 == 1 for i in eligible)
    assert slate.removed["rule:exclude"] == sum(int(i[1:]) % 2 == 0 for i in slate.candidates)
    assert slate.removed["rule:include"] == sum(int(i[1:]) % 3 != 1 for i in slate.candidates)


def test_an_empty_slate_is_filled_from_what_the_rules_admit() -> None:
    only = rule("include", "item.item_id in ['i25', 'i27']")
    slate = ruled(only, policy=Policy("p", retrievers=("session_knn",)))

    assert sorted(shown(slate)) == ["i25", "i27"]


@pytest.mark.parametrize("where", ["item.brand == 'b1'", "item.popularity >= 0 && item.brand == 'b1'"])
def test_a_boost_adds_the_logarithm_of_its_factor_to_the_utility(where: str) -> None:
    plain, boosted = ruled(), ruled(rule("boost", where, factor=4.0), rule("boost", where, rule_id="b2", factor=0.5))

    added = np.frombuffer(boosted.utilities) - np.frombuffer(plain.utilities)
    expected = [np.log(2.0) if int(i[1:]) % 2 else 0.0 for i in boosted.candidates]
    assert added == pytest.approx(expected, abs=1e-12)
    assert np.frombuffer(boosted.boosts) == pytest.approx(expected)


def test_a_pin_shows_the_best_of_its_items_that_may_be_shown() -> None:
    of_two = rule("pin", "item.item_id in ['i20', 'i22']", position=2)
    slate = ruled(of_two, rule("exclude", "item.item_id == 'i20'"), policy=Policy("p", retrievers=("session_knn",)))

    assert (shown(slate)[1], slate.propensities[1]) == ("i22", 1.0)


WISHED = (("i20", 1), ("i21", 5))


def test_of_two_pins_to_one_position_the_one_of_higher_priority_stands_and_the_policys_gives_way() -> None:
    pins = [
        rule("pin", f"item.item_id == '{i}'", rule_id=i, position=1, priority=p) for i, p in (("i20", 1), ("i21", 5))
    ]
    slate = ruled(*pins, policy=Policy("p", pins={1: "i3", 2: "i21", 3: "i4"}))

    assert [shown(slate)[0], shown(slate)[2]] == ["i21", "i4"]
    assert len(slate.pins) == 2


def test_caps_hold_for_all_hit_items_together_or_for_each_brand() -> None:
    together = ruled(rule("cap", "item.brand == 'b0'", most=1), n=8, epsilon=1.0)
    each = ruled(rule("cap", most=2, per="brand"), n=8, epsilon=1.0)

    assert sum(int(i[1:]) % 2 == 0 for i in shown(together)) == 1
    assert sorted(int(i[1:]) % 2 for i in shown(each)) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("fields", "is_on"),
    [
        ({"when": "surface == 'home' && context.device == 'tv'"}, True),
        ({"when": "surface == 'cart'"}, False),
        ({"when": "context.nothing == 1"}, False),
        ({"enabled": False}, False),
        ({"starts_at": T0 + 61}, False),
        ({"starts_at": T0, "ends_at": T0 + 60}, False),
        ({"ends_at": T0 + 61}, True),
    ],
)
def test_a_rule_is_on_for_the_requests_it_is_for_and_in_its_time(fields: dict[str, Any], is_on: bool) -> None:
    slate = ruled(rule("exclude", "item.brand == 'b0'", **fields))

    assert [fired.rule_id for fired in slate.rules] == (["exclude"] if is_on else [])
    assert ("rule:exclude" in slate.removed) is is_on


def test_a_slate_logs_which_rule_is_on_which_candidate() -> None:
    slate = ruled(
        rule("boost", "item.brand == 'b1'", factor=2.0),
        rule("exclude", "item.brand == 'nobody'"),
        rule("cap", "'c2' in item.categories", most=1),
    )

    assert slate.rules == [FiredRule("boost", 1, "boost"), FiredRule("cap", 3, "cap")]
    for i, bits in zip(slate.candidates, slate.rule_hits, strict=True):
        assert bits == (int(i[1:]) % 2 == 1) + 2 * (int(i[1:]) % 3 == 2)


def test_a_slate_under_rules_is_drawn_again_from_what_it_logs() -> None:
    rules = (
        rule("exclude", "item.brand == 'b0' && item.popularity < 2"),
        rule("boost", "item.age_days > 1", factor=3.0),
        rule("pin", "item.item_id in ['i5', 'i7']", position=3),
        rule("cap", most=2, per="category"),
    )
    for seed in range(20):
        slate = ruled(*rules, n=6, seed=seed, tau=1.0)
        again = redrawn(slate)
        own = slot_distributions(slate)[np.arange(len(slate.slots)), slate.slots]

        assert (again.slots.tolist(), again.propensities.tolist()) == (slate.slots, slate.propensities)
        assert slate.propensities == pytest.approx(own, rel=1e-12)


FIELDS = RequestFields(record(), "u1", "home", 5, None, {}, T0)


def test_a_change_of_the_catalogue_is_seen_by_rules_before_the_item_is_shown() -> None:
    world = shop()
    world.rule_set = RuleSet.over([compile_rule(rule("exclude", "'sale' in item.tags"))], world.table)
    fresh = Item(item_id="new", updated_at=T0, created_at=T0, tags=["sale"])
    world.put([fresh, Item(item_id="i0", updated_at=T0, created_at=T0 - 1e6, tags=["sale"])])
    hits = InForce.of(world.rule_set, world.table, FIELDS).on(np.arange(31, dtype=np.int32)).hits

    assert np.flatnonzero(hits[:, 0]).tolist() == [0, 30]
    assert "i0" not in shown(recommend(world, request(n=30), record()))
