from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from online.control.policy import POLICY
from online.core.features import NAMES, PRIOR
from online.core.propensity import redrawn
from online.core.ranker import Ranker, write_ranker
from online.world import RANKER, RANKER_FILE

Wait = Callable[..., Any]


@pytest.fixture
def shop(start_system: Any, eventually: Wait) -> Any:
    """Shoes and books; user 1 has clicked two shoes and put the second into the cart."""
    system = start_system()
    eventually(lambda: system.worker.is_ready, within_s=60.0)
    system.put_items(*(f"shoe-{n}" for n in range(6)), categories=["shoes"], brand="acme", price=50.0)
    system.put_items(*(f"book-{n}" for n in range(6)), categories=["books"], brand="press", price=10.0)
    act(system, eventually, "click shoe-0", "click shoe-1", "add_to_cart shoe-1", ago_s=60.0)
    eventually(lambda: sum(system.worker.world.table.applied.values()) >= 1)
    return system


def act(shop: Any, wait: Wait, *acts: str, ago_s: float = 0.0) -> None:
    said = {"user_id": "1", "timestamp": time.time() - ago_s}
    rows = [{**said, **dict(zip(("event_type", "item_id"), act.split(), strict=True))} for act in acts]
    before = sum(known.counts.values()) if (known := shop.worker.record("u1")) else 0
    shop.client.post("/v1/events", json={"events": rows})
    wait(lambda: (now := shop.worker.record("u1")) and sum(now.counts.values()) == before + len(acts))


def explained(shop: Any, slate: dict[str, Any]) -> dict[str, Any]:
    answer = shop.client.get(f"/v1/recommendations/{slate['recommendation_id']}/explain")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_the_terms_of_every_slot_add_up_to_its_score(shop: Any) -> None:
    boost = [{"where": "item.brand == 'press'", "factor": 3.0}]
    slate = shop.slate(user_id="1", n=6, boost=boost)

    found = explained(shop, slate)

    assert [item["item_id"] for item in found["items"]] == [item["item_id"] for item in slate["items"]]
    for item, served in zip(found["items"], slate["items"], strict=True):
        assert sum(part["contribution"] for part in item["parts"]) == pytest.approx(item["score"], abs=1e-6)
        named = {part["name"]: part["contribution"] for part in item["parts"]}
        is_boosted = item["item_id"].startswith("book")
        assert named.get("rules", 0.0) == pytest.approx(np.log(3.0) if is_boosted else 0.0)
        assert item["rules"] == (["request.boost.0"] if is_boosted else [])
        assert (item["propensity"], item["reason"]) == (served["propensity"], served["reason"])
        assert item["source"] == (item["sources"][0]["source"] if item["sources"] else "static")
    assert found["rules"] == [{"rule_id": "request.boost.0", "version": 0, "action": "boost"}]
    assert found["items"][0]["redundancy"] == 0.0
    assert max(item["redundancy"] for item in found["items"]) > 0.0


def test_what_was_read_and_what_was_left_out_is_named(shop: Any) -> None:
    found = explained(shop, shop.slate(user_id="1", n=3, seed=5))

    assert found["removed"] == {"current": 1, "in_cart": 1}
    assert found["removed_items"] == ["shoe-1"]
    assert found["session_items"] == ["shoe-0", "shoe-1", "shoe-1"]
    assert found["state"]["record_position"] == shop.worker.record("u1").position
    assert {int(p): seq for p, seq in found["state"]["updates"].items()} == shop.worker.world.table.applied
    assert (found["draw"]["seed"], found["draw"]["tau"], found["model_version"]) == (5, 0.25, "prior")
    assert found["stages_us"].keys() >= {"record", "retrieve", "score", "slots"}


def test_the_events_behind_an_affinity_are_named_with_what_is_left_of_them(shop: Any) -> None:
    slate = shop.slate(user_id="1", n=8, exploration=1.0)

    user = explained(shop, slate)["user"]

    assert not user["record_is_newer"]
    (shoes,) = [one for one in user["affinities"] if (one["facet"], one["key"]) == ("category", "shoes")]
    assert set(shoes["features"]) == {"category_recent", "category_lasting"}
    positions = [item["position"] for item in slate["items"] if item["item_id"].startswith("shoe")]
    assert shoes["positions"] == positions
    told = [(event["event_type"], event["item_id"], round(event["lasting"], 2)) for event in shoes["events"]]
    assert told == [("click", "shoe-0", 1.0), ("click", "shoe-1", 1.0), ("add_to_cart", "shoe-1", 3.0)]
    assert shoes["earlier_lasting"] == 0.0
    assert "books" not in {one["key"] for one in user["affinities"]}


def test_a_record_that_has_moved_on_is_said_to_be_newer(shop: Any, eventually: Wait) -> None:
    slate = shop.slate(user_id="1", n=8)
    act(shop, eventually, "click shoe-2")

    assert explained(shop, slate)["user"]["record_is_newer"]


def test_without_consent_nobody_is_named_and_the_rest_is_explained(shop: Any, eventually: Wait) -> None:
    before = shop.slate(user_id="1", n=4)
    shop.client.put("/v1/users/1/preferences", json={"consent": False})
    eventually(lambda: (known := shop.worker.record("u1")) and known.controls is not None)
    after = shop.slate(user_id="1", n=4)

    assert explained(shop, before)["user"]["affinities"] == []
    found = explained(shop, after)
    assert (found["user"], found["controls"]) == (None, ["consent_withdrawn"])
    assert all(item["parts"] for item in found["items"])


def published(shop: Any, weight: float) -> Ranker:
    weights = np.where(np.array(NAMES) == "age", weight, PRIOR)
    files = {RANKER_FILE: write_ranker(Ranker("", weights, 0.0))}
    version = shop.artifacts.publish(RANKER, files, {}).version
    return Ranker(str(version), weights, 0.0)


def test_scores_of_an_earlier_model_are_explained_while_it_is_kept(shop: Any, eventually: Wait) -> None:
    first = published(shop, 7.0)
    eventually(lambda: shop.worker.world.ranker_version == 1)
    slate = shop.slate(user_id="1", n=4)
    published(shop, 5.0)
    eventually(lambda: shop.worker.world.ranker_version == 2)

    found = explained(shop, slate)

    assert found["model_version"] == first.version == "1"
    for item in found["items"]:
        (age,) = [part for part in item["parts"] if part["name"] == "age"]
        assert age["contribution"] == pytest.approx(7.0 * age["value"])
        assert sum(part["contribution"] for part in item["parts"]) == pytest.approx(item["score"], abs=1e-6)
    for weight in (4.0, 3.0, 2.0):
        published(shop, weight)
    assert all(item["parts"] is None for item in explained(shop, slate)["items"])
    assert shop.client.get("/v1/recommendations/0-nonsense/explain").status_code == 422


def test_a_list_that_is_the_same_for_everybody_is_explained_by_its_order(shop: Any) -> None:
    slate = shop.client.get("/v1/latest?n=3").json()

    parts = [item["parts"] for item in explained(shop, slate)["items"]]

    assert {part["name"] for of_slot in parts for part in of_slot} <= {"place"}
    assert [sum(part["contribution"] for part in of_slot) for of_slot in parts] == [
        item["score"] for item in slate["items"]
    ]


def test_a_slate_that_never_was_has_no_explanation(shop: Any) -> None:
    answer = shop.client.get("/v1/recommendations/ff-0199f0a3b2c00112233445566aa/explain")

    assert (answer.status_code, answer.json()["code"]) == (404, "no_slate")


def test_what_was_shown_again_and_again_gives_way_and_the_explanation_says_so(shop: Any, eventually: Wait) -> None:
    shop.client.put("/v1/policies/tiring", json={"fatigue": 2.0, "epsilon": 0.0, "tau": 0.01, "diversity": 0.0})
    eventually(lambda: "tiring" in shop.worker.world.control.of(POLICY))
    ask = {"user_id": "1", "n": 1, "policy": "tiring"}
    (first,) = shop.slate(**ask)["items"]
    act(shop, eventually, *[f"impression {first['item_id']}"] * 3)

    slate = shop.slate(**ask)

    assert slate["items"][0]["item_id"] != first["item_id"]
    whole = explained(shop, shop.slate(**ask | {"n": 12}))
    (tired,) = [item for item in whole["items"] if item["item_id"] == first["item_id"]]
    terms = {part["name"]: part["contribution"] for part in tired["parts"]}
    assert terms["fatigue"] == pytest.approx(-6.0, abs=0.01)
    for item in whole["items"]:
        assert sum(part["contribution"] for part in item["parts"]) == pytest.approx(item["score"], abs=1e-6)
        assert ("fatigue" in {part["name"] for part in item["parts"]}) == (item is tired)
    logged = eventually(lambda: shop.logged_slates().get(whole["recommendation_id"]))
    assert redrawn(logged).slots.tolist() == logged.slots
    assert shop.client.get("/v1/users/1").json()["shown"].keys() == {first["item_id"]}
    act(shop, eventually, f"click {first['item_id']}")
    again = explained(shop, shop.slate(**ask | {"n": 12}))
    assert not any(part["name"] == "fatigue" for item in again["items"] for part in item["parts"])
