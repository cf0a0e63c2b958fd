from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from flows.record import RecordView
from online.connect import open_warehouse

Wait = Callable[..., Any]
ITEMS = [f"item-{n}" for n in range(8)]
EXPERIMENT = {
    "surface": "home",
    "variants": [{"name": "now", "policy": "personal-1"}, {"name": "pinned", "policy": "pinned-1"}],
    "control": "now",
    "owner": "search team",
    "why": "is item-5 any good",
}


@pytest.fixture
def shop(system: Any, eventually: Wait) -> Any:
    """A shop with a policy to try."""
    system.put_items(*ITEMS)
    eventually(lambda: len(system.worker.world.table) == 8)
    system.call("PUT", "/v1/policies/pinned-1", {"pins": {"1": "item-5"}})
    return system


def test_users_see_their_variant_on_every_request_and_the_slate_logs_it(shop: Any, eventually: Wait) -> None:
    assert shop.call("PUT", "/v1/experiments/pins", EXPERIMENT)["lagging"] == []
    slates = {user: shop.slate(user_id=user, n=4) for user in map(str, range(12))}

    assert {slate["experiment"]["variant"] for slate in slates.values()} == {"now", "pinned"}
    for user, slate in slates.items():
        variant = slate["experiment"]["variant"]
        assert slate["experiment"] == {"id": "pins", "variant": variant}
        assert slate["policy_id"] == {"now": "personal-1", "pinned": "pinned-1"}[variant]
        assert shop.slate(user_id=user, visitor_id="any")["experiment"] == slate["experiment"]
        logged = eventually(lambda key=slate["recommendation_id"]: shop.logged_slates().get(key))
        assert (logged.experiment_id, logged.variant, logged.held_out) == ("pins", variant, False)
    assert shop.slate(user_id="1", policy="greedy-1")["experiment"] is None
    assert shop.slate(user_id="1", surface="cart")["experiment"] is None


def test_once_it_is_stopped_the_policy_of_the_surface_answers_again(shop: Any) -> None:
    shop.call("PUT", "/v1/experiments/pins", EXPERIMENT)
    stopped = shop.call("POST", "/v1/experiments/pins:stop", {"reason": "enough"})

    assert (stopped["version"], stopped["document"]["status"], stopped["lagging"]) == (2, "stopped", [])
    assert {shop.slate(user_id=str(n))["policy_id"] for n in range(8)} == {"personal-1"}
    shown = shop.call("GET", "/v1/experiments/pins")
    assert (shown["document"]["owner"], shown["changes"][-1]["reason"]) == ("search team", "enough")
    shop.call("POST", "/v1/experiments/pins:rollback")
    assert shop.slate(user_id="1")["experiment"]["id"] == "pins"
    assert shop.call("POST", "/v1/experiments/other:stop", status=404)["code"] == "no_experiment"


def test_two_experiments_may_not_deal_with_the_same_users(shop: Any) -> None:
    shop.call("PUT", "/v1/experiments/pins", {**EXPERIMENT, "end_bucket": 6000})

    problem = shop.call("PUT", "/v1/experiments/more", {**EXPERIMENT, "first_bucket": 5000}, status=422)
    assert problem["errors"][0]["field"] == "first_bucket"
    assert problem["errors"][0]["message"].startswith("pins has buckets 0 up to 6000 of the surface")
    shop.call("PUT", "/v1/experiments/more", {**EXPERIMENT, "first_bucket": 6000})
    assert {(shop.slate(user_id=str(n))["experiment"] or {}).get("id") for n in range(20)} == {"pins", "more"}
    shop.call("POST", "/v1/experiments/pins:stop")
    shop.call("PUT", "/v1/experiments/more", EXPERIMENT)
    assert shop.call("POST", "/v1/experiments/pins:rollback", status=409)["code"] == "in_use"


def test_who_is_held_out_gets_what_is_popular_and_teaches_nobody(
    start_system: Callable[..., Any], eventually: Wait
) -> None:
    system = start_system(ports={"holdout": 0.5})
    eventually(lambda: system.worker.is_ready)
    system.put_items(*ITEMS)
    eventually(lambda: len(system.worker.world.table) == 8)
    slates = {str(n): system.slate(user_id=str(n), n=4) for n in range(20)}
    held_out = {user for user, slate in slates.items() if slate["experiment"]}

    assert {slate["policy_id"] for user, slate in slates.items() if user in held_out} == {"popularity-1"}
    assert {slate["experiment"]["id"] for user, slate in slates.items() if user in held_out} == {"holdout"}
    events = [{"event_type": "click", "user_id": user, "item_id": f"item-{user}"} for user in slates]
    assert system.client.post("/v1/events", json={"events": events}).status_code == 202
    table = system.worker.world.table
    learned = {f"item-{user}" for user in slates if user not in held_out}
    eventually(lambda: learned <= set(table.ids.names))
    eventually(lambda: all(system.client.get(f"/v1/users/{user}").json().get("events") for user in slates))

    assert not {f"item-{user}" for user in held_out if int(user) > 7} & set(table.ids.names)
    logged = eventually(lambda: len(found := system.logged_slates()) == 20 and found)
    assert {slate.user_key[1:] for slate in logged.values() if slate.held_out} == held_out


@pytest.fixture
def counted_shop(
    start_system: Callable[..., Any], eventually: Wait, warehouse_url: str, switched_log: Any, switched_state: Any
) -> Any:
    """A shop whose log is recorded in a warehouse whenever a test asks for results."""
    system = start_system(ports={"holdout": 0.2, "open_warehouse": lambda: open_warehouse(warehouse_url)})
    eventually(lambda: system.worker.is_ready)
    system.put_items(*ITEMS)
    eventually(lambda: len(system.worker.world.table) == 8)
    with closing(open_warehouse(warehouse_url)) as warehouse:
        ports = {"state": switched_state, "log": switched_log, "warehouse": warehouse}
        recorder = RecordView(partitions=2, clock=count().__next__, **ports)
        for partition in recorder.partitions:
            recorder.adopt(partition)

        def results(experiment_id: str, **query: Any) -> dict[str, Any]:
            for batch in switched_log.port.read(recorder.positions(), max_messages=100_000, wait_s=0.0):
                recorder.step(batch)()
            path = f"/v1/experiments/{experiment_id}/results"
            answer = system.client.get(path, params=query)
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            return found

        system.results = results
        yield system


def test_results_tell_what_each_variant_was_worth(counted_shop: Any, eventually: Wait) -> None:
    shop, name, began = counted_shop, uuid.uuid4().hex, time.time()
    shop.call("PUT", "/v1/policies/pinned-1", {"pins": {"1": "item-5"}})
    shop.call("PUT", f"/v1/experiments/{name}", {**EXPERIMENT, "metrics": ["click_rate", "coverage"]})
    slates = {f"{name}{n}": shop.slate(user_id=f"{name}{n}", n=4) for n in range(60)}
    clicked = [user for user, slate in slates.items() if slate["experiment"]["variant"] == "pinned"]
    events = [
        {"event_type": "click", "user_id": user, "item_id": "item-5", "recommendation_id": slates[user]["decision_id"]}
        for user in clicked
    ]
    assert shop.client.post("/v1/events", json={"events": events}).status_code == 202
    eventually(lambda: len(shop.logged_slates()) == 60)

    found = shop.results(name)
    counted = Counter(slate["experiment"]["variant"] for slate in slates.values())
    held_out = counted.pop("holdout")

    assert (found["id"], found["surface"], found["status"], found["control"]) == (name, "home", "running", "now")
    assert began <= found["since"] <= found["until"]
    assert found["sample_ratio"]["units"] == counted
    rates = found["metrics"]["click_rate"]
    assert (rates["variants"]["now"]["value"], rates["variants"]["pinned"]["value"]) == (0.0, 1.0)
    assert (rates["differences"]["pinned"]["value"], rates["differences"]["pinned"]["verdict"]) == (1.0, "open")
    assert found["conclusion"] == "nothing is known yet in click_rate"
    assert found["metrics"]["coverage"]["variants"]["pinned"]["value"] > 0.0
    assert found["excluded"] == {}
    everybody = shop.results("holdout", since=began)
    assert everybody["sample_ratio"]["units"] == {"holdout": held_out, "everybody": 60 - held_out}
    assert everybody["metrics"]["click_rate"]["variants"]["holdout"]["value"] == 0.0
    shop.call("POST", f"/v1/experiments/{name}:stop")
    assert shop.results(name)["status"] == "stopped"
    assert shop.results(name)["sample_ratio"]["units"] == counted


def test_without_a_warehouse_or_an_experiment_there_are_no_results(shop: Any) -> None:
    shop.call("PUT", "/v1/experiments/pins", EXPERIMENT)

    assert shop.call("GET", "/v1/experiments/pins/results", status=503)["code"] == "no_warehouse"
    assert shop.call("GET", "/v1/experiments/other/results", status=404)["code"] == "no_experiment"
    assert shop.call("GET", "/v1/experiments/holdout/results", status=404)["code"] == "no_holdout"
    assert shop.call("GET", "/v1/experiments/pins/results?since=never", status=422)["errors"][0]["field"]
