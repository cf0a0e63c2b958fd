from __future__ import annotations

from collections.abc import Sequence

import pytest

from online.control.control import BUILT_IN, built_in
from online.core.merge import absorb
from online.core.partition import partition_of
from online.core.policy_document import DEFAULT_POLICY, POLICIES, policies_for
from online.core.record import Forward, UserRecord
from online.core.step import FoldConfig
from online.core.value import Value
from online.pipeline import SlateRequest
from online.request import UnknownPolicy, look_up, request_key, resolve
from schemas.control import ControlChange
from schemas.slate import RecommendIn

PARTITIONS, NOW = 16, 1_767_225_600.25


def resolved(ask: RecommendIn) -> SlateRequest:
    return resolve(ask, partitions=PARTITIONS, served_at=NOW, seed=5, suffix="abc")


def test_a_plain_request_gets_the_defaults_of_its_policy() -> None:
    request = resolved(RecommendIn(user_id="7"))
    policy = POLICIES[DEFAULT_POLICY]

    assert request.policy == policy
    assert request.slots == policy.slots
    assert (request.n, request.surface, request.seed, request.seed_given) == (10, "home", 5, False)
    assert request.as_asked == {"user_id": "7"}


@pytest.mark.parametrize(
    ("ask", "key"),
    [
        (RecommendIn(user_id="7"), "u7"),
        (RecommendIn(visitor_id="7"), "v7"),
        (RecommendIn(user_id="7", visitor_id="8"), "u7"),
        (RecommendIn(session_items=["a"]), None),
        (RecommendIn(item_id="a"), None),
    ],
)
def test_the_record_is_the_users_before_the_visitors(ask: RecommendIn, key: str | None) -> None:
    assert request_key(ask) == key
    assert resolved(ask).user_key == key


@pytest.mark.parametrize("user", ["1", "2", "3", "4", "5"])
def test_the_id_begins_with_the_partition_of_the_user_and_goes_on_with_the_time(user: str) -> None:
    request = resolved(RecommendIn(user_id=user))
    partition, _, rest = request.recommendation_id.partition("-")

    assert int(partition, 16) == request.partition == partition_of(f"u{user}", PARTITIONS)
    assert int(rest.removesuffix("abc"), 16) == int(NOW * 1000)


def test_anonymous_sessions_are_spread_over_the_partitions_and_the_same_one_stays_in_its_own() -> None:
    partitions = [resolved(RecommendIn(session_items=[f"item-{i}", "b"])).partition for i in range(200)]

    assert set(partitions) == set(range(PARTITIONS))
    assert partitions[0] == resolved(RecommendIn(session_items=["item-0", "b"])).partition


def test_the_client_may_ask_for_the_past_but_not_for_the_future() -> None:
    assert resolved(RecommendIn(user_id="7")).now == NOW
    assert resolved(RecommendIn(user_id="7", timestamp=NOW - 60)).now == NOW - 60
    assert resolved(RecommendIn(user_id="7", timestamp=NOW + 60)).now == NOW
    assert resolved(RecommendIn(user_id="7", timestamp=NOW - 60)).served_at == NOW


def test_a_seed_of_the_client_is_used_and_told() -> None:
    request = resolved(RecommendIn(user_id="7", seed=0))

    assert (request.seed, request.seed_given) == (0, True)


def test_the_request_overrides_exploration_and_diversity_one_by_one() -> None:
    slots = POLICIES[DEFAULT_POLICY].slots

    explored = resolved(RecommendIn(user_id="7", exploration=0.0)).slots
    diverse = resolved(RecommendIn(user_id="7", diversity=2.5)).slots

    assert (explored.epsilon, explored.diversity, explored.tau) == (0.0, slots.diversity, slots.tau)
    assert (diverse.epsilon, diverse.diversity, diverse.tau) == (slots.epsilon, 2.5, slots.tau)
    assert POLICIES[DEFAULT_POLICY].slots == slots


def test_what_to_leave_out_is_handed_on() -> None:
    request = resolved(
        RecommendIn(user_id="7", item_id="a", exclude_item_ids=["b"], exclude_seen=True, exclude_purchased=False, n=3)
    )

    assert (request.item_id, request.exclude_item_ids) == ("a", ["b"])
    assert (request.exclude_seen, request.exclude_purchased, request.n) == (True, False, 3)


def test_a_shop_has_policies_of_its_own() -> None:
    policies = policies_for({"cart": Value(click=0.0)}, {"home": 0.2})
    ask = RecommendIn(user_id="7")

    request = resolve(ask, partitions=PARTITIONS, served_at=NOW, seed=5, suffix="abc", control=built_in(policies))

    assert (request.policy.values["cart"].click, request.slots.pool) == (0.0, 0.2)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_can_be_asked_for_by_its_id(policy: str) -> None:
    assert resolved(RecommendIn(user_id="7", policy=policy)).policy.policy_id == policy


def test_a_policy_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UnknownPolicy, match=DEFAULT_POLICY):
        resolved(RecommendIn(user_id="7", policy="psychic"))


class Store:
    """Records by key, and what was read of them in each round trip."""

    def __init__(self, **records: UserRecord) -> None:
        self.records = records
        self.trips: list[list[str]] = []

    def read(self, keys: Sequence[str]) -> list[UserRecord | None]:
        self.trips.append(list(keys))
        return [self.records.get(key) for key in keys]


def visitor(user_id: str = "7") -> UserRecord:
    return UserRecord(counts={2: 3}, position="30", forward=Forward(user_id, NOW, "7", "0:20"))


def test_a_request_of_nobody_reads_nothing() -> None:
    store = Store()
    assert look_up(RecommendIn(item_id="a"), store.read).record is None
    assert store.trips == []


def test_both_ids_are_read_in_one_round_trip_and_without_a_merge_the_user_counts_alone() -> None:
    store = Store(u7=UserRecord(counts={2: 1}, position="10"), v9=UserRecord(counts={2: 3}, position="30"))

    known = look_up(RecommendIn(user_id="7", visitor_id="9"), store.read)

    assert known.record is store.records["u7"]
    assert store.trips == [["u7", "v9"]]
    assert known.positions == {"u7": "10", "v9": "30"}


def test_between_merge_and_absorption_both_records_count() -> None:
    store = Store(u7=UserRecord(counts={2: 1}, position="10"), v9=visitor())
    ask = RecommendIn(user_id="7", visitor_id="9")

    known = look_up(ask, store.read)
    assert known.record is not None
    assert known.record.counts == {2: 4}

    absorb(store.records["u7"], visitor(), "0:20", FoldConfig())
    assert look_up(ask, store.read).record is store.records["u7"]


def test_the_visitor_id_alone_of_a_merged_visitor_leads_to_the_user() -> None:
    store = Store(u8=UserRecord(counts={2: 1}, position="10"), v9=visitor("8"))

    known = look_up(RecommendIn(visitor_id="9"), store.read)

    assert known.record is store.records["u8"]
    assert store.trips == [["v9"], ["u8"]]
    assert known.positions == {"v9": "30", "u8": "10"}


def test_a_visitor_merged_into_a_user_without_a_record_yet_keeps_its_own() -> None:
    known = look_up(RecommendIn(visitor_id="9"), Store(v9=visitor()).read)

    assert known.record is not None
    assert known.record.counts == {2: 3}


@pytest.mark.parametrize("ask", [RecommendIn(user_id="7"), RecommendIn(visitor_id="9")])
def test_one_id_without_a_merge_reads_one_record(ask: RecommendIn) -> None:
    store = Store(u7=UserRecord(counts={2: 1}), v9=UserRecord(counts={2: 1}))

    assert look_up(ask, store.read) == (UserRecord(counts={2: 1}), {})
    assert store.trips == [[request_key(ask)]]


def test_the_surface_says_what_the_request_leaves_out() -> None:
    documents = {
        ("surface", "lounge"): {"policy": "greedy-1", "n": 3, "deadline_ms": 40, "weighting": "profile"},
        ("policy", "greedy-1"): {"tau": 0.5},
    }
    control = BUILT_IN
    for (kind, name), document in documents.items():
        control = control.applied(ControlChange(kind=kind, id=name, revision=1, document=document), "1")

    def asked(**fields: object) -> SlateRequest:
        ask = RecommendIn.model_validate({"user_id": "7", "surface": "lounge", **fields})
        return resolve(ask, partitions=PARTITIONS, served_at=NOW, seed=5, suffix="abc", control=control)

    plain, own = asked(), asked(n=10, policy="personal-1", deadline_ms=7)
    assert (plain.policy.policy_id, plain.policy.version, plain.slots.tau) == ("greedy-1", 2, 0.5)
    assert (plain.n, plain.deadline_ms, plain.weighting) == (3, 40, "profile")
    assert (own.n, own.deadline_ms, own.policy.policy_id) == (10, 7, "personal-1")
    assert asked(surface="nowhere").policy.policy_id == DEFAULT_POLICY


EXPERIMENT = {
    "surface": "home",
    "variants": [{"name": "now", "policy": "personal-1"}, {"name": "new", "policy": "thompson-1"}],
    "control": "now",
}
TRYING = BUILT_IN.applied(ControlChange(kind="experiment", id="e", revision=1, document=EXPERIMENT), "1")


def tried(ask: RecommendIn, holdout: float = 0.0) -> SlateRequest:
    return resolve(ask, partitions=1, served_at=NOW, seed=5, suffix="", control=TRYING, holdout=holdout)


def test_users_of_a_surface_are_shared_out_among_the_variants_and_stay_where_they_are() -> None:
    requests = [tried(RecommendIn(user_id=str(n))) for n in range(40)]

    assert {(r.experiment_id, r.variant, r.policy.policy_id) for r in requests} == {
        ("e", "now", "personal-1"),
        ("e", "new", "thompson-1"),
    }
    again = [tried(RecommendIn(user_id=str(n), visitor_id="anyone")) for n in range(40)]
    assert [r.variant for r in again] == [r.variant for r in requests]


@pytest.mark.parametrize(
    "ask",
    [
        RecommendIn(user_id="7", policy="greedy-1"),
        RecommendIn(user_id="7", surface="cart"),
        RecommendIn(session_items=["a"]),
    ],
)
def test_a_request_with_a_policy_of_its_own_on_another_surface_or_without_a_user_is_in_none(ask: RecommendIn) -> None:
    request = tried(ask)

    assert (request.experiment_id, request.variant) == ("", "")
    assert request.policy.policy_id == ask.policy or DEFAULT_POLICY


def test_who_is_held_out_is_answered_by_popularity_before_any_experiment() -> None:
    requests = [tried(RecommendIn(user_id=str(n)), holdout=0.5) for n in range(40)]
    held_out = [r for r in requests if r.held_out]

    assert 10 < len(held_out) < 30
    assert {(r.experiment_id, r.variant, r.policy.policy_id) for r in held_out} == {
        ("holdout", "holdout", "popularity-1")
    }
    assert {r.experiment_id for r in requests if not r.held_out} == {"e"}


def test_a_request_of_a_held_out_user_may_name_its_policy_and_is_not_learned_all_the_same() -> None:
    request = tried(RecommendIn(user_id="7", policy="greedy-1"), holdout=1.0)

    assert (request.policy.policy_id, request.experiment_id, request.held_out) == ("greedy-1", "", True)
