from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import serving.shadowing
from online.core.rank_similarity import overlap
from online.core.shadow import SHADOWS
from schemas.shadow import ShadowSlate, decode_shadow
from serving.worker import Worker

Wait = Callable[..., Any]
ITEMS = [f"item-{n}" for n in range(12)]


@pytest.fixture
def shop(system: Any, eventually: Wait) -> Any:
    system.put_items(*ITEMS)
    eventually(lambda: len(system.worker.world.table) == len(ITEMS))
    system.slate(user_id="0")  # whatever is to be compiled is by now
    return system


def shadows(shop: Any) -> dict[str, ShadowSlate]:
    return {one.shadow_of: one for one in map(decode_shadow, shop.payloads(SHADOWS))}


def counted(worker: Worker, outcome: str) -> float:
    return worker.metrics.registry.get_sample_value("headrace_shadow_slates_total", {"outcome": outcome}) or 0.0


def test_a_shadow_of_the_same_policy_draws_the_same_slate(shop: Any, eventually: Wait) -> None:
    shop.call("POST", "/v1/surfaces/home:shadow", {"policy": "personal-1", "share": 1.0})

    slate = shop.slate(user_id="1", n=5)

    shadow = eventually(lambda: shadows(shop).get(slate["recommendation_id"]))
    served = eventually(lambda: shop.logged_slates().get(slate["recommendation_id"]))
    assert (shadow.overlap, shadow.rank_biased_overlap, shadow.rank_shift) == (1.0, pytest.approx(1.0), 0.0)
    assert (shadow.slate.slots, shadow.slate.seed, shadow.slate.time) == (served.slots, served.seed, served.time)
    assert shadow.slate.recommendation_id == f"{slate['recommendation_id']}~personal-1"
    assert {"retrieve", "features", "score", "slots"} <= shadow.slate.stages_us.keys()
    assert counted(shop.worker, "scored") == 1.0


def test_another_policy_is_compared_with_what_was_served_and_is_not_among_the_slates(
    shop: Any, eventually: Wait
) -> None:
    shop.call("PUT", "/v1/policies/pinned", {"pins": {"1": "item-7"}})
    shop.call("POST", "/v1/surfaces/home:shadow", {"policy": "pinned", "share": 1.0})

    slate = shop.slate(user_id="1", n=4)

    shadow = eventually(lambda: shadows(shop).get(slate["recommendation_id"]))
    seen = [shadow.slate.candidates[i] for i in shadow.slate.slots]
    assert seen[0] == "item-7"
    assert shadow.overlap == overlap([item["item_id"] for item in slate["items"]], seen)
    assert (shadow.slate.policy_id, shadow.served_policy_id, slate["policy_id"]) == (
        "pinned",
        "personal-1",
        "personal-1",
    )
    eventually(lambda: shop.logged_slates().get(slate["recommendation_id"]))
    assert not any("~" in name for name in shop.logged_slates())


def test_what_a_client_asks_for_holds_for_its_shadow_too(shop: Any, eventually: Wait) -> None:
    shop.call("POST", "/v1/surfaces/home:shadow", {"policy": "greedy-1", "share": 1.0})

    slate = shop.slate(user_id="1", n=3, exploration=0.5, exclude_item_ids=["item-1"])

    shadow = eventually(lambda: shadows(shop).get(slate["recommendation_id"]))
    assert (shadow.slate.epsilon, shadow.slate.n) == (0.5, 3)
    assert "item-1" not in {shadow.slate.candidates[i] for i in shadow.slate.slots}


def test_a_model_shadows_the_served_policy_with_its_own_ranking(shop: Any, eventually: Wait) -> None:
    shop.call("POST", "/v1/models/newton/versions/1:shadow", {"surface": "home", "share": 1.0})
    slate = shop.slate(user_id="1", n=4)

    shadow = eventually(lambda: shadows(shop).get(slate["recommendation_id"]))
    assert (shadow.model, shadow.slate.policy_id, shadow.slate.ranker) == ("newton-1", "personal-1", "newton-1")

    shop.call("POST", "/v1/models/newton/versions/1:shadow", {"surface": "home", "share": 0})
    assert shop.call("GET", "/v1/surfaces/home")["document"]["shadow"] == []
    assert shop.call("POST", "/v1/models/none/versions/1:shadow", status=404)["code"] == "no_model"


@pytest.mark.parametrize("limit", ["LATE_S", "WAITING"])
def test_shadows_that_would_keep_requests_waiting_are_dropped_and_counted(
    shop: Any, eventually: Wait, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(serving.shadowing, limit, 0)
    shop.call("POST", "/v1/surfaces/home:shadow", {"policy": "greedy-1", "share": 1.0})

    assert len(shop.slate(user_id="1")["items"]) == 10

    eventually(lambda: counted(shop.worker, "dropped") == 1.0)
    assert not shadows(shop)


def test_robots_and_answers_without_a_record_are_not_shadowed(shop: Any, switched_state: Any) -> None:
    shop.call("POST", "/v1/surfaces/home:shadow", {"policy": "greedy-1", "share": 1.0})

    shop.slate(user_id="1", context={"robot": True})
    switched_state.is_off = True
    shop.slate(user_id="1")

    assert counted(shop.worker, "scored") + counted(shop.worker, "dropped") == 0.0
    assert not shadows(shop)


def test_a_shadow_names_one_policy_or_model_that_there_is(shop: Any) -> None:
    said = {
        "shadow.0": [{"share": 0.5}],
        "shadow.0.model": [{"model": "oracle-1"}],
        "shadow": [{"policy": "nowhere"}],
        "shadow.0.share": [{"policy": "greedy-1", "share": 2}],
    }
    for field, shadow in said.items():
        refused = shop.call("PUT", "/v1/surfaces/home", {"shadow": shadow}, status=422)
        assert refused["errors"][0]["field"] == field
    shop.call("PUT", "/v1/policies/mine", {"tau": 0.5})
    shop.call("PUT", "/v1/surfaces/home", {"shadow": [{"policy": "mine"}]})
    assert shop.call("DELETE", "/v1/policies/mine", status=409)["code"] == "in_use"


def test_without_a_warehouse_there_is_no_report(shop: Any) -> None:
    assert shop.call("GET", "/v1/surfaces/home/shadow", status=503)["code"] == "no_warehouse"
