from __future__ import annotations

import pytest

from online.core.partition import partition_of
from online.core.policy_document import DEFAULT_POLICY, POLICIES
from online.pipeline import SlateRequest
from online.request import UnknownPolicy, request_key, resolve
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


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_can_be_asked_for_by_its_id(policy: str) -> None:
    assert resolved(RecommendIn(user_id="7", policy=policy)).policy.policy_id == policy


def test_a_policy_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UnknownPolicy, match=DEFAULT_POLICY):
        resolved(RecommendIn(user_id="7", policy="psychic"))
