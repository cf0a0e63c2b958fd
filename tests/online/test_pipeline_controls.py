"""What users have told, on every rung; their own items, and what is in their carts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from online.core.controls import Controls
from online.core.decay import Decay
from online.core.features import INDEX
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES
from online.core.propensity import redrawn
from online.core.record import TYPE_CODES, Touch, UserRecord
from online.core.rules.rule_set import RuleSet, compile_rule
from online.core.slate_features import slate_features
from online.core.update import Update
from online.pipeline import SlateRequest, recommend
from online.world import World
from schemas.item import Item
from schemas.preferences import FacetBoost
from schemas.rule import Rule
from schemas.slate import Slate

T0 = Decay().landmark(1_700_000_000.0)
ITEMS = [f"i{n}" for n in range(30)]


@pytest.fixture(scope="module")
def world() -> World:
    """Items i0 to i29 in three categories and two brands; i0 to i9 have been clicked, i28 and i29 are somebody's."""
    world = World(ItemTable(partitions=1))
    for n, item_id in enumerate(ITEMS):
        owner = {28: "1", 29: "v1"}.get(n)
        facets: dict[str, Any] = {"categories": [f"c{n % 3}"], "brand": f"b{n % 2}", "owner_id": owner}
        world.table.put(Item(item_id=item_id, updated_at=T0, created_at=T0 - 1e6, **facets))
    world.apply(Update(0, 1, {f"i{n}": ItemStats(T0, [10.0 - n] * 3, {}, T0, T0) for n in range(10)}, []))
    world.refresh(T0)
    return world


def request(**fields: Any) -> SlateRequest:
    policy = fields.pop("policy", POLICIES["personal-1"])
    base = SlateRequest(
        "0-r", 0, "u1", "home", 30, T0 + 60, T0 + 60, 3, policy, SlotPolicy(epsilon=1.0), as_asked={"user_id": "1"}
    )
    return replace(base, **fields)


def record(controls: Controls | None = None, **fields: Any) -> UserRecord:
    touches = [Touch(T0, "i0", TYPE_CODES["click"], 0, ("c0",), "b0", weight=1.0)]
    known = {"recent": touches, "counts": {TYPE_CODES["click"]: 1}, "seen": {"i0": int(T0)}}
    return UserRecord(landmark=T0, position="9", controls=controls, **(known | fields))


def shown(slate: Slate) -> set[str]:
    return {slate.candidates[i] for i in slate.slots}


MUTED = Controls(muted_items=["i1"], muted_brands=["b0"], muted_categories=["c2"])
ALLOWED = {f"i{n}" for n in range(30) if n != 1 and n % 2 and n % 3 != 2}


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("asked", [{}, {"session_items": ["i3"]}, {"item_id": "i3"}, {"weighting": "profile"}])
@pytest.mark.parametrize("degraded", ["", "no user record"])
def test_what_is_muted_is_on_no_rung(world: World, policy: str, asked: dict[str, Any], degraded: str) -> None:
    slate = recommend(world, request(policy=POLICIES[policy], **asked), record(MUTED), degraded=degraded)

    assert shown(slate) <= ALLOWED
    assert slate.removed["muted"] == sum(item not in ALLOWED for item in slate.candidates)
    assert slate.controls == ["muted"]


def test_when_nearly_all_is_muted_the_rest_fills_the_slate(world: World) -> None:
    slate = recommend(world, request(n=5), record(Controls(muted_items=ITEMS[:25]), recent=[]))

    assert shown(slate) == {"i25", "i26", "i27", "i29"}  # i28 is the user's own


def test_more_and_less_of_something_is_in_the_odds(world: World) -> None:
    wanted = Controls(boosts=[FacetBoost("category", "c0", 10.0), FacetBoost("brand", "b1", 0.1)])
    plain, slate = (recommend(world, request(), record(controls)) for controls in (None, wanted))

    added = np.frombuffer(slate.utilities) - np.frombuffer(plain.utilities)
    numbers = [int(item[1:]) for item in slate.candidates]
    expected = [np.log(10.0) * ((n % 3 == 0) - (n % 2 == 1)) for n in numbers]
    assert added == pytest.approx(expected)
    assert slate.controls == ["boosts"]
    assert [rule.rule_id for rule in slate.rules] == ["user.category:c0", "user.brand:b1"]
    assert redrawn(slate).slots.tolist() == slate.slots


@pytest.mark.parametrize(
    ("controls", "name", "why"),
    [
        (Controls(personalization=False), "personalization_off", "personalization is off"),
        (Controls(consent=False), "consent_withdrawn", "consent is withdrawn"),
    ],
)
def test_who_refuses_is_answered_as_a_stranger(world: World, controls: Controls, name: str, why: str) -> None:
    known = record(controls, context={"country": "de"}, purchased={"i5": 1}, hidden={"i6": 1}, robot_until=T0 + 1e6)
    slate, strangers = recommend(world, request(), known), recommend(world, request(), UserRecord(hidden={"i6": 1}))

    assert (slate.rung, slate.why, slate.controls) == ("popularity", why, [name])
    assert (slate.candidates, slate.slots, slate.features) == (
        strangers.candidates, strangers.slots, strangers.features,
    )  # fmt: skip
    assert slate_features(slate)[:, INDEX["guest"]].all()
    assert slate.removed == {"hidden": 1, "own": 1}
    assert slate.robot


def test_what_the_request_itself_brings_still_counts_for_who_refuses(world: World) -> None:
    slate = recommend(world, request(session_items=["i4"]), record(Controls(personalization=False)))

    assert (slate.rung, slate.session_items) == ("session", ["i4"])


def test_without_consent_the_slate_does_not_say_whose_it_is(world: World) -> None:
    slate = recommend(world, request(), record(Controls(consent=False)))

    assert (slate.user_key, slate.record_position, slate.request) == (None, "", {})
    assert recommend(world, request(), record()).request == {"user_id": "1"}


def test_labels_still_decide_what_may_be_shown_to_who_refuses(world: World) -> None:
    rule = compile_rule(Rule(rule_id="r", action="exclude", where="item.brand == 'b0'", when="'minor' in user.labels"))
    ruled = replace(world, rule_set=RuleSet.over([rule], world.table))
    slate = recommend(ruled, request(), record(Controls(personalization=False), labels=["minor"]))

    assert shown(slate) == {item for item in ITEMS if int(item[1:]) % 2}


@pytest.mark.parametrize(
    ("user_key", "own"), [("u1", {"i28"}), ("v1", set()), ("uv1", {"i29"}), ("u2", set()), (None, set())]
)
def test_nobody_is_shown_items_of_their_own(world: World, user_key: str | None, own: set[str]) -> None:
    slate = recommend(world, request(user_key=user_key), None)

    assert shown(slate) == {*ITEMS} - own
    assert slate.removed == ({"own": 1} if own else {})


def test_what_is_in_the_cart_is_not_shown_again_unless_asked_for(world: World) -> None:
    known = record(carted={"i2": 5, "i3": -5, "i4": 5}, purchased={"i4": 6}, recent=[])

    without = recommend(world, request(exclude_purchased=False), known)
    with_cart = recommend(world, request(exclude_purchased=False, exclude_in_cart=False), known)

    assert shown(without) == {*ITEMS} - {"i2", "i28"}
    assert without.removed == {"in_cart": 1, "own": 1}
    assert shown(with_cart) == {*ITEMS} - {"i28"}
