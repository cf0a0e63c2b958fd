from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import serving.acknowledgement
from online.core.control import CONTROL
from schemas.control import decode_change

Wait = Callable[..., Any]
ITEMS = [f"item-{n}" for n in range(8)]


class Pair:
    """Two workers over one log."""

    def __init__(self, one: Any, other: Any) -> None:
        self.one, self.other = one, other
        self.workers = (one, other)

    def slates(self, **ask: Any) -> list[dict[str, Any]]:
        return [worker.slate(user_id="1", n=4, **ask) for worker in self.workers]


@pytest.fixture
def pair(start_system: Callable[..., Any], eventually: Wait) -> Pair:
    pair = Pair(start_system(), start_system())
    eventually(lambda: all(worker.worker.is_ready for worker in pair.workers))
    eventually(lambda: len(pair.one.worker.contact.others()) == 2)
    pair.one.put_items(*ITEMS)
    eventually(lambda: all(len(worker.worker.world.table) == 8 for worker in pair.workers))
    return pair


def test_once_a_policy_is_acknowledged_every_worker_answers_by_it(pair: Pair) -> None:
    pins = {"1": "item-5"}
    answer = pair.one.call("PUT", "/v1/policies/personal-1", {"pins": pins})

    assert (answer["version"], answer["applied_by"], answer["lagging"]) == (2, ["api-0", "api-1"], [])
    assert answer["document"]["pins"] == pins
    for slate in pair.slates():
        assert (slate["policy_id"], slate["policy_version"]) == ("personal-1", 2)
        assert slate["items"][0]["item_id"] == "item-5"
    assert pair.other.call("GET", "/v1/policies/personal-1")["version"] == 2


def test_rolled_back_the_version_before_answers_at_every_worker(pair: Pair) -> None:
    for n in (3, 5):
        pair.one.call("PUT", "/v1/policies/personal-1", {"pins": {"1": f"item-{n}"}})

    answer = pair.other.call("POST", "/v1/policies/personal-1:rollback", {"reason": "a bad idea"})

    assert (answer["version"], answer["lagging"]) == (2, [])
    assert [slate["items"][0]["item_id"] for slate in pair.slates()] == ["item-3"] * 2
    assert pair.one.call("POST", "/v1/policies/personal-1:rollback")["version"] == 1
    assert [slate["policy_version"] for slate in pair.slates()] == [1, 1]
    assert pair.one.call("POST", "/v1/policies/personal-1:rollback", status=409)["code"] == "no_version_before"
    done = pair.one.call("GET", "/v1/policies/personal-1")["changes"]
    assert [(one["action"], one["version"], one["reason"]) for one in done] == [
        ("put", 2, ""), ("put", 3, ""), ("rollback", 2, "a bad idea"), ("rollback", 1, ""),
    ]  # fmt: skip


def test_a_slate_logs_the_control_version_it_was_answered_under(pair: Pair, eventually: Wait) -> None:
    answer = pair.one.call("PUT", "/v1/policies/mine", {"tau": 0.125})

    for worker, slate in zip(pair.workers, pair.slates(policy="mine"), strict=True):
        logged = eventually(lambda w=worker, key=slate["recommendation_id"]: w.logged_slates().get(key))
        assert (logged.control_version, logged.policy_version, logged.tau) == (answer["control_version"], 1, 0.125)
    change = decode_change(pair.one.payloads(CONTROL)[-1])
    assert (change.kind, change.id, change.revision, change.by) == ("policy", "mine", 1, "api")


def test_another_policy_is_activated_on_a_surface_and_rolled_back_in_one_call(pair: Pair) -> None:
    assert pair.one.call("POST", "/v1/surfaces/home:activate", {"policy": "greedy-1"})["lagging"] == []
    assert {slate["policy_id"] for slate in pair.slates()} == {"greedy-1"}
    assert pair.other.call("POST", "/v1/surfaces/home:rollback")["lagging"] == []
    assert {slate["policy_id"] for slate in pair.slates()} == {"personal-1"}


def test_a_worker_that_does_not_keep_up_is_named(pair: Pair, eventually: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.acknowledgement, "PATIENCE_S", 0.1)
    pair.other.worker.follower.close()

    answer = pair.one.call("PUT", "/v1/policies/personal-1", {}, status=202)

    assert (answer["version"], answer["applied_by"], answer["lagging"]) == (2, ["api-0"], ["api-1"])
    eventually(lambda: pair.one.client.put("/v1/policies/mine", json={}).status_code == 200)  # it counts no more


def test_a_change_made_while_the_log_is_away_counts_when_it_is_back(
    pair: Pair, switched_log: Any, eventually: Wait
) -> None:
    switched_log.is_off = True
    answer = pair.one.call("PUT", "/v1/policies/mine", {}, status=202)

    assert (answer["version"], answer["control_version"], answer["lagging"]) == (1, None, ["api-0"])
    switched_log.is_off = False
    eventually(lambda: all("mine" in worker.worker.world.control.ids("policy") for worker in pair.workers))


def test_without_the_state_store_nobody_knows_who_lags(
    pair: Pair, switched_state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.acknowledgement, "PATIENCE_S", 0.1)
    switched_state.is_off = True

    answer = pair.one.call("PUT", "/v1/policies/mine", {}, status=202)

    assert (answer["applied_by"], answer["lagging"]) == (["api-0"], None)


def test_of_changes_at_once_those_that_are_confirmed_count_and_the_others_are_told(pair: Pair) -> None:
    def write(n: int) -> int:
        client = pair.workers[n % 2].client
        status: int = client.put("/v1/policies/mine", json={"tau": 1 + n}).status_code
        return status

    for worker in pair.workers:  # a route is built at its first request, which pydantic cannot do twice at once
        worker.call("PUT", "/v1/policies/other", {"tau": 1})
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(write, range(8)))

    assert set(statuses) <= {200, 409}
    for worker in pair.workers:
        assert len(worker.call("GET", "/v1/policies/mine")["changes"]) == statuses.count(200)


def test_a_worker_that_starts_later_knows_all_that_was_changed(
    pair: Pair, start_system: Callable[..., Any], eventually: Wait
) -> None:
    pair.one.call("PUT", "/v1/policies/mine", {"tau": 0.5})
    eventually(lambda: pair.one.state.port.get(0, "control_entry", "policy/mine"))
    pair.one.log.port.trim(CONTROL, 0, pair.one.log.port.extent(CONTROL, 0).last)

    late = start_system()
    eventually(lambda: late.worker.is_ready)

    assert late.slate(user_id="1", policy="mine")["policy_version"] == 1
    assert late.worker.world.control.version == pair.one.worker.world.control.version


def test_documents_are_listed_with_their_versions(pair: Pair) -> None:
    pair.one.call("PUT", "/v1/surfaces/lounge", {"n": 3})

    surfaces = {one["id"]: one for one in pair.other.call("GET", "/v1/surfaces")["surfaces"]}

    assert set(surfaces) == {"home", "item", "cart", "search", "email", "lounge"}
    assert (surfaces["home"]["version"], surfaces["home"]["built_in"]) == (1, True)
    assert (surfaces["lounge"]["version"], surfaces["lounge"]["built_in"]) == (1, False)
    assert set(surfaces["home"]["document"]) == {"policy", "n", "deadline_ms", "weighting", "metrics", "slo", "shadow"}
    assert {one["id"] for one in pair.one.call("GET", "/v1/policies")["policies"]} >= {"personal-1", "greedy-1"}


def test_what_is_deleted_is_gone_and_what_is_built_in_stays(pair: Pair) -> None:
    pair.one.call("PUT", "/v1/policies/mine", {})
    pair.one.call("PUT", "/v1/policies/greedy-1", {"tau": 0.5})

    gone = pair.one.call("DELETE", "/v1/policies/mine")
    restored = pair.one.call("DELETE", "/v1/policies/greedy-1")

    assert (gone["version"], gone["document"], gone["lagging"]) == (None, None, [])
    assert (restored["version"], restored["document"]["tau"]) == (1, 1e-6)
    assert pair.other.call("GET", "/v1/policies/mine", status=404)["code"] == "no_policy"
    assert pair.other.call("DELETE", "/v1/policies/mine", status=404)["code"] == "no_policy"
    assert pair.other.call("DELETE", "/v1/policies/greedy-1", status=409)["code"] == "built_in"


def test_what_does_not_go_with_the_others_is_refused(pair: Pair) -> None:
    pair.one.call("PUT", "/v1/policies/mine", {})
    pair.one.call("POST", "/v1/surfaces/home:activate", {"policy": "mine"})

    in_use = pair.one.call("DELETE", "/v1/policies/mine", status=409)
    unknown = pair.one.call("PUT", "/v1/surfaces/home", {"policy": "nobody"}, status=422)
    misspelt = pair.one.call("PUT", "/v1/policies/mine", {"retrievers": ["vectros"]}, status=422)

    assert (in_use["code"], "home" in in_use["detail"]) == ("in_use", True)
    assert unknown["errors"][0]["field"] == "policy"
    assert "greedy-1" in unknown["detail"]
    assert "session_knn" in misspelt["detail"]
    assert pair.one.call("POST", "/v1/policies/nobody:rollback", status=404)["code"] == "no_policy"


def test_a_surface_says_what_a_request_leaves_out(pair: Pair) -> None:
    pair.one.call("PUT", "/v1/surfaces/lounge", {"policy": "greedy-1", "n": 3})

    for worker in pair.workers:
        slate = worker.slate(user_id="1", surface="lounge")
        assert (slate["policy_id"], len(slate["items"])) == ("greedy-1", 3)
        assert len(worker.client.get("/v1/recommendations/1?surface=lounge").json()["items"]) == 3
        assert len(worker.slate(user_id="1", surface="lounge", n=5, policy="personal-1")["items"]) == 5
        assert len(worker.slate(user_id="1", surface="nowhere")["items"]) == 8


def test_once_a_takedown_is_acknowledged_no_worker_shows_the_item(pair: Pair) -> None:
    pair.one.client.request("PATCH", "/v1/items/item-1", json={"available": False})
    assert pair.one.client.put("/v1/items/item-2", json={"available_to": 1.0}).status_code == 200
    assert pair.other.client.request("DELETE", "/v1/items/item-3").status_code == 204

    for slate in pair.slates(exploration=1.0):
        assert not {"item-1", "item-2", "item-3"} & {item["item_id"] for item in slate["items"]}


def test_a_takedown_names_the_workers_that_may_still_show_the_item(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.acknowledgement, "PATIENCE_S", 0.1)
    pair.other.worker.follower.close()

    assert pair.one.call("DELETE", "/v1/items/item-1", status=202) == {
        "item_id": "item-1", "applied_by": ["api-0"], "lagging": ["api-1"],
    }  # fmt: skip
    assert pair.one.call("PATCH", "/v1/items/item-2", {"available": False}, status=202)["lagging"] == ["api-1"]
    assert pair.one.call("PATCH", "/v1/items/item-4", {"price": 3.0})["price"] == 3.0


def test_beyond_its_deadline_a_request_gets_what_everybody_likes(
    pair: Pair, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = [{"event_type": "click", "user_id": "1", "item_id": item} for item in ITEMS]
    pair.one.client.post("/v1/events", json={"events": clicks})
    eventually(lambda: len(pair.one.worker.world.tops.popular.everybody) == 8)
    ticks = iter(range(10_000))
    monkeypatch.setattr("serving.recommendations.time.perf_counter", lambda: next(ticks) * 0.010)

    slate = pair.one.slate(user_id="1", n=4, deadline_ms=5)

    assert slate["fallback"] == {"rung": "popularity", "why": "the deadline passed in the stage retrieve"}
    assert (slate["policy_id"], len(slate["items"]), slate["ope_valid"]) == ("popularity-1", 4, False)
    assert pair.one.slate(user_id="1", n=4, deadline_ms=60_000)["fallback"] is None
