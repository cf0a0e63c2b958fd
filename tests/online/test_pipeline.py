from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from online.core.decay import Decay
from online.core.features import INDEX, NAMES
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES, Policy
from online.core.propensity import redrawn, slot_distributions
from online.core.ranker import Head, Ranker
from online.core.record import TYPE_CODES, Touch, UserRecord
from online.core.slate_features import slate_features
from online.core.update import SessionTouch, Update
from online.core.value import Value
from online.pipeline import STATIC_ITEMS, SlateRequest, recommend
from online.world import World
from schemas.item import Item
from schemas.slate import Slate, decode_slate, encode_slate

T0 = Decay().landmark(1_700_000_000.0)
POLICY = POLICIES["personal-1"]


def shop(items: int = 30) -> World:
    """Items i0 to i(n-1), popular in that order, in three categories and two brands; sessions join i0 and i9."""
    world = World(ItemTable(partitions=1))
    for n in range(items):
        categories, brand = [f"c{n % 3}"], f"b{n % 2}"
        world.table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0 - 1e6, categories=categories, brand=brand))
    stats = {f"i{n}": ItemStats(T0, [float(items - n)] * 3, {}, T0, T0) for n in range(items)}
    touches = [SessionTouch(s, item, T0) for s in range(5) for item in ("i0", "i9")] if items > 9 else []
    world.apply(Update(0, 1, stats, touches))
    world.refresh(T0)
    return world


def request(**fields: Any) -> SlateRequest:
    said = {name: fields.pop(name) for name in ("tau", "epsilon", "diversity") if name in fields}
    slots = fields.pop("slots", SlotPolicy(**said))
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
        slots=slots,
    )
    return replace(base, **fields)


def record(**fields: Any) -> UserRecord:
    return UserRecord(landmark=T0, position="9", counts={TYPE_CODES["click"]: 1}, **fields)


def shown(slate: Slate) -> list[str]:
    return [slate.candidates[i] for i in slate.slots]


def matrix(slate: Slate) -> Any:
    return slate_features(slate)


def test_the_same_request_gives_the_same_slate_and_another_seed_another() -> None:
    world = shop()

    assert recommend(world, request(), record()) == recommend(world, request(), record())
    assert shown(recommend(world, request(seed=4, tau=1.0), None)) != shown(recommend(world, request(tau=1.0), None))


def test_without_exploration_and_heat_the_best_come_in_order() -> None:
    slate = recommend(shop(), request(tau=1e-6, epsilon=0.0, diversity=0.0), record())

    best = np.argsort(-np.frombuffer(slate.utilities), kind="stable")[:5]
    assert slate.slots == best.tolist()
    assert slate.propensities == pytest.approx([1.0] * 5)


def test_the_current_session_comes_from_the_record_unless_the_request_knows_better() -> None:
    touches = [Touch(T0 - 9000, "i5", 1, 0), Touch(T0, "i0", 1, 0), Touch(T0 + 30, "i1", 1, 0)]
    given = record(recent=touches)
    world = shop()

    assert recommend(world, request(), given).session_items == ["i0", "i1"]
    assert recommend(world, request(session_items=["i7"]), given).session_items == ["i7"]
    assert recommend(world, request(item_id="i3"), given).session_items == ["i0", "i1", "i3"]
    assert recommend(world, request(item_id="i1"), given).session_items == ["i0", "i1"]
    assert recommend(world, request(now=T0 + 9000), given).session_items == []


def test_a_session_brings_in_its_neighbours() -> None:
    slate = recommend(shop(), request(session_items=["i0"]), None)

    at = slate.candidates.index("i9")
    assert matrix(slate)[at, INDEX["session_knn_score"]] == 1.0
    assert "session_knn" in slate.sources_of(at)


@pytest.mark.parametrize(
    ("given", "gone", "reason"),
    [
        ({"record": record(hidden={"i2": 1})}, {"i2"}, "hidden"),
        ({"record": record(purchased={"i2": 1, "unknown": 1})}, {"i2"}, "purchased"),
        ({"record": record(seen={"i2": 1}), "exclude_seen": True}, {"i2"}, "seen"),
        ({"exclude_item_ids": ["i2", "i4", "unknown"]}, {"i2", "i4"}, "excluded"),
        ({"session_items": ["i4", "i2"]}, {"i2"}, "current"),
        ({"item_id": "i2"}, {"i2"}, "current"),
    ],
)
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_what_may_not_be_shown_has_no_support(given: dict[str, Any], gone: set[str], reason: str, policy: str) -> None:
    fields = {name: value for name, value in given.items() if name != "record"}
    asked = request(n=100, epsilon=1.0, policy=POLICIES[policy], **fields)

    slate = recommend(shop(), asked, given.get("record"))

    assert set(shown(slate)) == {f"i{n}" for n in range(30)} - gone
    assert slate.removed == {reason: len(gone)}
    eligible = np.frombuffer(slate.eligible, np.uint8).astype(bool)
    assert {item for item, ok in zip(slate.candidates, eligible, strict=True) if not ok} == gone


def test_purchased_and_seen_items_come_back_when_asked_for() -> None:
    given = record(purchased={"i2": 1}, seen={"i3": 1})

    slate = recommend(shop(), request(n=100, exclude_purchased=False), given)

    assert len(shown(slate)) == 30


def test_an_item_that_became_unavailable_since_the_toplists_is_not_shown() -> None:
    world = shop()
    world.table.put(Item(item_id="i0", updated_at=T0, created_at=T0, available=False))
    world.table.put(Item(item_id="i1", updated_at=T0, created_at=T0, deleted=True))

    slate = recommend(world, request(n=100, epsilon=1.0), None)

    assert {"i0", "i1"}.isdisjoint(shown(slate))
    assert slate.removed == {"catalogue": 2}


def test_the_rungs_of_the_ladder() -> None:
    world = shop()

    def rung(user: UserRecord | None, degraded: str = "", **fields: Any) -> tuple[str, str]:
        slate = recommend(world, request(**fields), user, degraded=degraded)
        return slate.rung, slate.why

    assert rung(record()) == ("personal", "")
    assert rung(None, session_items=["i1"]) == ("session", "no acts of this user yet")
    assert rung(None, "store away", session_items=["i1"]) == ("session", "store away")
    assert rung(UserRecord()) == ("popularity", "no acts of this user yet")
    assert rung(None, "store away") == ("popularity", "store away")
    assert rung(None, user_key=None, item_id="i1") == ("session", "the request names no user")


def test_the_static_list_is_the_last_rung_and_fills_up_before() -> None:
    world = World(ItemTable(partitions=1))
    for n in range(STATIC_ITEMS + 10):
        world.table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0))
    popularity = POLICIES["popularity-1"]

    nothing_found = recommend(world, request(policy=popularity), None)
    world.apply(Update(0, 1, {"i5": ItemStats(T0, [1.0] * 3, {}, T0, T0)}, []))
    world.refresh(T0)
    one_found = recommend(world, request(policy=popularity), None)

    assert nothing_found.rung == "static"
    assert len(nothing_found.slots) == 5
    assert len(nothing_found.candidates) == STATIC_ITEMS
    assert not nothing_found.ope_valid
    assert one_found.rung == "popularity"
    assert len(one_found.slots) == 5
    assert len(set(one_found.candidates)) == len(one_found.candidates)
    assert one_found.ope_valid


@pytest.mark.parametrize(
    ("fields", "degraded", "why"),
    [
        ({}, "", ""),
        ({"seed_given": True}, "", "client seed"),
        ({}, "store away", "store away"),
        ({"exclude_item_ids": [f"i{n}" for n in range(30)]}, "", "static list"),
        ({"robot": True}, "", "robot"),
    ],
)
def test_a_slate_says_whether_and_why_not_it_serves_for_evaluation(
    fields: dict[str, Any], degraded: str, why: str
) -> None:
    slate = recommend(shop(), request(**fields), None, degraded=degraded)

    assert (slate.ope_valid, slate.ope_why) == (not why, why)


@pytest.mark.parametrize("session", [[], ["i0"], ["i0", "nothing"]])
@pytest.mark.parametrize("items", [0, 1, 3, 30])
def test_any_world_gives_a_slate_that_survives_the_log_and_can_be_drawn_again(items: int, session: list[str]) -> None:
    slate = recommend(shop(items), request(n=100, session_items=session, as_asked={"n": 100}), None)

    kept = decode_slate(encode_slate(slate))
    draw = redrawn(kept)
    assert kept == slate
    assert (draw.slots.tolist(), draw.propensities.tolist()) == (kept.slots, kept.propensities)
    on_page = set(session[-1:]) & {f"i{n}" for n in range(items)}
    assert len(kept.slots) == items - len(on_page)


def test_a_slate_names_the_versions_of_what_it_read() -> None:
    world = shop()
    world.ranker = Ranker("12", np.ones(len(NAMES)), 0.0)

    slate = recommend(world, request(now=T0 + 5), record())

    assert (slate.model_version, slate.index_version, slate.updates) == ("12", 0, {0: 1})
    assert (slate.record_position, slate.policy_id) == ("9", "personal-1")
    assert (slate.time, slate.served_at) == (T0 + 5, T0 + 60)
    assert np.frombuffer(slate.utilities) == pytest.approx(matrix(slate).sum(axis=1), rel=1e-6)


def test_the_popularity_policy_ranks_by_popularity_alone() -> None:
    slate = recommend(shop(), request(policy=POLICIES["popularity-1"], tau=1e-6, epsilon=0.0, diversity=0.0), record())

    assert shown(slate) == ["i0", "i1", "i2", "i3", "i4"]
    assert np.frombuffer(slate.utilities).tolist() == matrix(slate)[:, INDEX["popularity"]].tolist()


def test_what_was_asked_is_logged_without_what_is_logged_elsewhere() -> None:
    asked = {"user_id": "1", "session_items": ["i1"], "exclude_item_ids": ["i2", "x"], "context": {"device": "tv"}}

    slate = recommend(shop(), request(as_asked=asked, session_items=["i1"], exclude_item_ids=["i2", "x"]), None)

    kept = {"user_id": "1", "exclude_item_ids": ["i2"], "context": {"device": "tv"}}
    assert slate.request == {**kept, "session_items_given": 1}  # the first of `session_items`
    assert "session_items" in asked


def test_a_request_changes_nothing_it_reads() -> None:
    world, user = shop(), record(recent=[Touch(T0, "i0", 1, 0)])
    before = (len(world.table), world.table.version, world.table.totals.tobytes(), repr(user))

    recommend(world, request(session_items=["i1", "unknown"], exclude_item_ids=["also unknown"]), user)

    assert (len(world.table), world.table.version, world.table.totals.tobytes(), repr(user)) == before


def test_the_stopwatch_is_told_of_every_stage_in_order() -> None:
    stages: list[str] = []

    recommend(shop(), request(), None, stopwatch=stages.append)

    assert stages == ["retrieve", "eligibility", "features", "score", "slots"]


def test_a_diverse_slate_spreads_over_categories() -> None:
    world = shop()
    world.ranker = Ranker("1", np.eye(len(NAMES))[INDEX["last_category"]], 0.0)

    def categories(diversity: float) -> int:
        slate = recommend(world, request(n=6, tau=0.01, epsilon=0.0, diversity=diversity, item_id="i0"), None)
        return len({int(item[1:]) % 3 for item in shown(slate)})

    assert categories(0.0) == 1
    assert categories(10.0) == 3


def test_a_pinned_item_is_shown_in_its_place_though_no_retriever_has_named_it() -> None:
    policy = Policy("pinned", retrievers=("session_knn",), pins={2: "i20", 4: "nothing", 9: "i21"})

    slate = recommend(shop(), request(policy=policy, session_items=["i0"]), None)

    assert shown(slate)[1] == "i20"
    assert slate.propensities[1] == 1.0
    assert slate.pins == {1: slate.candidates.index("i20")}
    assert redrawn(slate).slots.tolist() == slate.slots


def test_a_pinned_item_that_may_not_be_shown_is_not() -> None:
    world = shop()
    world.table.put(Item(item_id="i21", updated_at=T0, created_at=T0, available=False))

    slate = recommend(world, request(policy=Policy("p", pins={1: "i20", 2: "i21"})), record(hidden={"i20": 1}))

    assert {"i20", "i21"}.isdisjoint(shown(slate))
    assert (slate.pins, len(slate.slots)) == ({}, 5)


def test_caps_hold_and_the_static_list_fills_what_they_leave_open() -> None:
    slots, policy = SlotPolicy(category_cap=2, epsilon=1.0), Policy("p", retrievers=("session_knn",))

    slate = recommend(shop(), request(n=9, policy=policy, slots=slots, session_items=["i0"]), None)

    categories = [int(item[1:]) % 3 for item in shown(slate)]
    assert sorted(categories) == [0, 0, 1, 1, 2, 2]
    assert redrawn(slate).propensities.tolist() == slate.propensities


def test_new_items_get_the_budget_of_their_surface() -> None:
    world = shop()
    for n in range(3):
        world.table.put(Item(item_id=f"new{n}", updated_at=T0, created_at=T0))
    world.refresh(T0)
    policy = Policy("p", slots=SlotPolicy(tau=0.01, epsilon=0.0), new_items={"home": 0.5})

    def asked(surface: str, seed: int = 3) -> Slate:
        slots = policy.slots_of(surface)
        return recommend(world, request(policy=policy, slots=slots, surface=surface, n=1, seed=seed), None)

    slate = asked("home")
    new = np.frombuffer(slate.pool, np.uint8).astype(bool)
    p = slot_distributions(slate)[0]
    assert {slate.candidates[i] for i in np.flatnonzero(new)} == {"new0", "new1", "new2"}
    assert p[new] == pytest.approx([0.5 / 3] * 3, abs=1e-6)
    assert 60 < sum(shown(asked("home", seed))[0].startswith("new") for seed in range(200)) < 140
    assert (asked("cart").pool, asked("cart").pool_share) == (b"", 0.0)


def test_what_outcomes_are_worth_on_the_surface_orders_the_slate_and_is_logged() -> None:
    world, policy = shop(), replace(POLICY, values={"cart": Value(click=0.0, cart=0.0, purchase=1.0)})
    clicks, purchases = np.zeros(len(NAMES)), np.zeros(len(NAMES))
    clicks[INDEX["popularity"]], purchases[INDEX["popularity"]] = 1.0, -3.0  # bought is what is seldom clicked
    world.ranker = Ranker("12", clicks, -2.0, heads={"purchase": Head(purchases, -4.0)})

    home, cart = (recommend(world, request(policy=policy, surface=surface), record()) for surface in ("home", "cart"))

    assert (home.values, cart.values) == ({}, {"click": 0.0, "cart": 0.0, "purchase": 1.0})
    popularity = matrix(cart)[:, INDEX["popularity"]]
    assert np.corrcoef(np.frombuffer(home.utilities), popularity)[0, 1] > 0.0
    assert np.corrcoef(np.frombuffer(cart.utilities), popularity)[0, 1] < 0.0


def test_thompson_sampling_moves_the_weights_as_the_slate_logs() -> None:
    world, policy = shop(), POLICIES["thompson-1"]
    world.ranker = Ranker("12", np.ones(len(NAMES)), -2.0, root=0.5 * np.eye(len(NAMES)))

    slates = [recommend(world, request(policy=policy, seed=seed), record()) for seed in (1, 2)]

    for slate in slates:
        shift = np.frombuffer(slate.weight_shift)
        assert np.frombuffer(slate.utilities) == pytest.approx(matrix(slate) @ (1.0 + shift) - 2.0, rel=1e-5)
        assert slate.thompson == policy.thompson
        assert redrawn(decode_slate(encode_slate(slate))).propensities.tolist() == slate.propensities
    assert slates[0].weight_shift != slates[1].weight_shift


def test_a_ranker_without_a_posterior_and_other_policies_are_not_perturbed() -> None:
    world = shop()
    assert recommend(world, request(policy=POLICIES["thompson-1"]), record()).weight_shift == b""

    world.ranker = Ranker("12", np.ones(len(NAMES)), -2.0, root=np.eye(len(NAMES)))
    assert recommend(world, request(policy=POLICIES["personal-1"]), record()).weight_shift == b""
    popular = Policy("p", ranker="popularity", thompson=1.0)
    assert recommend(world, request(policy=popular), record()).weight_shift == b""


def test_a_slate_says_whether_a_robot_asked_by_its_words_or_its_record() -> None:
    suspect = record(robot_until=T0 + 61.0)

    assert recommend(shop(), request(robot=True), None).robot
    assert recommend(shop(), request(), suspect).robot
    assert not recommend(shop(), request(now=T0 + 61.0), suspect).robot
    assert not recommend(shop(), request(), None).robot


def test_by_session_the_profile_finds_nothing_and_by_profile_the_session_does_not() -> None:
    world, liking = shop(), record(affinities=[{}, {"c1": [9.0] * 3}, {}, {}])
    asked = request(session_items=["i0"], policy=replace(POLICY, retrievers=("session_knn", "affinity")))

    found = {
        weighting: {
            source
            for slate in [recommend(world, replace(asked, weighting=weighting), liking)]
            for candidate in range(len(slate.candidates))
            if slate.candidates[candidate] == "i1" or slate.candidates[candidate] == "i9"
            for source in [(slate.candidates[candidate], *slate.sources_of(candidate))]
        }
        for weighting in ("session", "profile", "hybrid")
    }

    assert found == {
        "session": {("i9", "session_knn", "affinity")},  # i9 is of the category of i0
        "profile": {("i1", "affinity")},
        "hybrid": {("i1", "affinity"), ("i9", "session_knn", "affinity")},
    }


def test_there_is_no_time_for_more_than_what_everybody_likes_and_the_slate_says_so() -> None:
    slate = recommend(shop(), request(policy=POLICIES["popularity-1"]), record(), late="the deadline passed")

    assert (slate.rung, slate.why) == ("popularity", "the deadline passed")
    assert (slate.ope_valid, slate.ope_why) == (False, "the deadline passed")
    assert len(slate.slots) == 5
