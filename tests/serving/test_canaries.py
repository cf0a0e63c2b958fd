from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from online.core.steward import STEWARD, Word, encode_words

Wait = Callable[..., Any]
ITEMS = [f"item-{n}" for n in range(8)]
USERS = [str(n) for n in range(40)]


@pytest.fixture
def shop(system: Any, eventually: Wait) -> Any:
    system.put_items(*ITEMS)
    eventually(lambda: len(system.worker.world.table) == len(ITEMS))
    system.call("PUT", "/v1/policies/bold", {"pins": {"1": "item-7"}})
    system.slate(user_id="0")
    return system


def start(shop: Any, **said: Any) -> dict[str, Any]:
    return shop.call("POST", "/v1/canaries/home:start", {"policy": "bold", "steps": [0.5, 1.0], **said})


def policies(shop: Any, **ask: Any) -> dict[str, str]:
    return {user: shop.slate(user_id=user, n=2, **ask)["policy_id"] for user in USERS}


def test_a_share_of_the_users_is_answered_by_the_candidate_and_slates_say_so(shop: Any, eventually: Wait) -> None:
    answer = start(shop, reason="calmer tops")

    document = answer["document"]
    assert (document["baseline"], document["state"], answer["lagging"]) == ("personal-1", "running", [])
    seen = policies(shop)
    assert 8 < list(seen.values()).count("bold") < 32
    assert policies(shop) == seen
    slates = eventually(lambda: len(shop.logged_slates()) >= 2 * len(USERS) + 1 and shop.logged_slates())
    arms = {(s.canary_arm, s.policy_id) for s in slates.values() if s.canary == document["salt"]}
    assert arms == {("candidate", "bold"), ("baseline", "personal-1")}


def test_who_names_a_policy_or_is_nobody_is_on_no_side(shop: Any, eventually: Wait) -> None:
    start(shop)

    assert set(policies(shop, policy="greedy-1").values()) == {"greedy-1"}
    slate = shop.slate(session_items=["item-1"])
    logged = eventually(lambda: shop.logged_slates().get(slate["recommendation_id"]))
    assert (logged.policy_id, logged.canary_arm) == ("personal-1", "")


@pytest.mark.parametrize("way", ["/v1/canaries/home:stop", "/v1/surfaces/home:rollback"])
def test_stopped_or_rolled_back_the_baseline_answers_everybody_at_once(shop: Any, way: str) -> None:
    start(shop)

    answer = shop.call("POST", way, {"reason": "odd tops"})

    assert (answer["document"]["state"], answer["document"]["why"], answer["lagging"]) == ("stopped", "odd tops", [])
    assert set(policies(shop).values()) == {"personal-1"}
    last = shop.call("GET", "/v1/canaries/home")["changes"][-1]
    assert (last["action"], last["reason"]) == ("put", "odd tops")
    assert shop.call("POST", "/v1/surfaces/home:rollback", status=409)["code"] == "no_version_before"


def test_promoted_the_candidate_answers_everybody_and_a_rollback_takes_it_back(shop: Any) -> None:
    start(shop)

    shop.call("POST", "/v1/canaries/home:promote", {"reason": "enough"})

    assert set(policies(shop).values()) == {"bold"}
    assert shop.call("GET", "/v1/canaries/home")["document"]["state"] == "passed"
    shop.call("POST", "/v1/surfaces/home:rollback")
    assert set(policies(shop).values()) == {"personal-1"}


def test_a_pause_leaves_the_share_and_only_what_runs_can_be_paused(shop: Any) -> None:
    start(shop)
    seen = policies(shop)

    shop.call("POST", "/v1/canaries/home:pause")
    assert policies(shop) == seen
    assert shop.call("POST", "/v1/canaries/home:pause", status=409)["code"] == "not_live"
    assert shop.call("POST", "/v1/canaries/home:resume")["document"]["state"] == "running"
    shop.call("POST", "/v1/canaries/home:stop")
    assert shop.call("POST", "/v1/canaries/home:promote", status=409)["code"] == "not_live"


def test_another_surface_policy_ends_what_it_is_compared_with(shop: Any) -> None:
    start(shop)

    shop.call("POST", "/v1/surfaces/home:activate", {"policy": "popularity-1"})

    assert set(policies(shop).values()) == {"popularity-1"}


def test_what_does_not_fit_is_refused(shop: Any) -> None:
    said: dict[str, dict[str, Any]] = {
        "policy": {"policy": "nowhere"},
        "steps": {"policy": "bold", "steps": [0.5, 0.1]},
        "guardrails": {"policy": "bold", "guardrails": dict.fromkeys(("errors", "latency", "click_rate", "coverage"))},
        "slates": {"policy": "bold", "slates": 5},
    }
    for field, document in said.items():
        answer = shop.call("POST", "/v1/canaries/home:start", document, status=422)
        assert answer["errors"][0]["field"].startswith(field) or answer["detail"].startswith(field)
    refused = shop.call("POST", "/v1/canaries/home:start", {"policy": "personal-1"}, status=422)
    assert refused["detail"] == "policy: it answers on the surface already"
    assert shop.call("POST", "/v1/canaries/nowhere:start", {"policy": "bold"}, status=404)["code"] == "no_surface"
    assert shop.call("GET", "/v1/canaries/home", status=404)["code"] == "no_canary"
    start(shop)
    assert shop.call("POST", "/v1/canaries/home:start", {"policy": "greedy-1"}, status=409)["code"] == "in_use"
    assert shop.call("DELETE", "/v1/policies/bold", status=409)["code"] == "in_use"


def test_without_a_warehouse_it_says_that_nothing_is_known_and_what_its_steward_has_said(shop: Any) -> None:
    start(shop)
    words = {"home": Word(5.0, "hold", "the warehouse does not answer")}
    shop.state.announce(STEWARD, "steward", encode_words(words), 60.0)

    found = shop.call("GET", "/v1/canaries/home")

    assert (found["share"], found["slates"], found["guardrails"]) == (0.5, None, [])
    assert found["action"] == {"kind": "hold", "why": "this worker has no warehouse to read from"}
    assert found["steward"] == {"at": 5.0, "action": "hold", "why": "the warehouse does not answer"}
    assert [one["id"] for one in shop.call("GET", "/v1/canaries")["canaries"]] == ["home"]
