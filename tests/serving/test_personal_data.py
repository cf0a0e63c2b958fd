"""A user's data as a whole, with a real warehouse that a record view keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from flows.log_source import TICK
from flows.record import RecordView
from flows.view import adopt_all
from online.connect import open_warehouse
from online.ports import Batch, Unavailable

Wait = Callable[..., Any]
PARTITIONS = 2


@pytest.fixture(scope="module")
def database(warehouse_url: str) -> Iterator[str]:
    """The address of a database of this module's own."""
    name = f"personal_{uuid4().hex[:12]}"
    main = open_warehouse(warehouse_url)
    main.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(warehouse_url)._replace(path=f"/{name}"))
    main.execute(f"DROP DATABASE {name}")
    main.close()


@pytest.fixture
def shop(start_system: Any, database: str, eventually: Wait) -> Any:
    system = start_system(ports={"open_warehouse": lambda: open_warehouse(database)})
    eventually(lambda: system.worker.is_ready, within_s=60.0)
    system.put_items("a", "b", "c")
    return system


def record(shop: Any, database: str) -> None:
    """Put everything of the log into the warehouse."""
    warehouse = open_warehouse(database)
    for table in ("events", "slates", "documents"):
        warehouse.execute(f"DROP TABLE IF EXISTS {table}")
    times = iter([0.0, 9.0, 9.0])  # at the second look it is time to write
    view = RecordView(
        state=shop.state.port, log=shop.log.port, warehouse=warehouse, partitions=PARTITIONS, clock=times.__next__
    )
    adopt_all([view])
    after = {key: position for key, position in view.positions().items() if key[0] != TICK}
    while batches := shop.log.port.read(after, max_messages=1000, wait_s=0.0):
        for batch in batches:
            view.step(batch)
            after[batch.topic, batch.partition] = batch.messages[-1].position
    view.step(Batch(TICK, 0, []))()
    warehouse.close()


def act(shop: Any, wait: Wait, *items: str, **who: Any) -> None:
    rows = [{"event_type": "click", "item_id": item, **who} for item in items]
    shop.client.post("/v1/events", json={"events": rows})
    key = f"u{who['user_id']}" if "user_id" in who else f"v{who['visitor_id']}"
    wait(lambda: (found := shop.worker.record(key)) and len(found.recent) == len(items))


@pytest.fixture
def known(shop: Any, eventually: Wait, database: str) -> Any:
    """User 7, who was the visitor g, has a document and preferences, and was shown a slate."""
    act(shop, eventually, "a", visitor_id="g")
    act(shop, eventually, "b", "c", user_id="7")
    shop.client.post("/v1/users/7:merge", json={"visitor_id": "g"})
    shop.client.put("/v1/users/7", json={"labels": ["vip"]})
    shop.client.put("/v1/users/7/preferences", json={"muted_items": ["c"]})
    eventually(lambda: (found := shop.worker.record("u7")).labels and len(found.recent) == 3)
    shop.first = shop.slate(user_id="7")
    eventually(lambda: shop.logged_slates())
    record(shop, database)
    return shop


def test_an_export_holds_what_is_known_and_what_was_done(known: Any) -> None:
    document = known.client.get("/v1/users/7/export").json()

    assert document["record"] == known.client.get("/v1/users/7").json() | {
        "affinities": document["record"]["affinities"]
    }
    assert document["preferences"]["muted_items"] == ["c"]
    kinds = [event["event_type"] for event in document["events"]]
    assert sorted(kinds) == ["click", "click", "click", "merge", "preferences"]
    assert not document["more_events"]
    assert known.client.get("/v1/users/nobody/export").status_code == 404


def counts(answer: Any) -> dict[str, Any]:
    return {store["store"]: (store["count"], store["erased"]) for store in answer.json()["stores"]}


def test_a_dry_run_counts_and_an_erasure_leaves_no_record(known: Any, eventually: Wait) -> None:
    archived = {"archive: events": (6, False), "archive: slates": (1, False), "archive: user documents": (1, False)}

    dry = known.client.request("DELETE", "/v1/users/7?dry_run=true")
    assert (dry.status_code, dry.json()["receipt_id"]) == (200, None)
    assert counts(dry) == {"records": (2, False), **archived}
    assert known.client.get("/v1/users/7").status_code == 200

    erased = known.client.request("DELETE", "/v1/users/7")
    assert (erased.status_code, erased.json()["reflected"]) == (200, True)
    assert erased.json()["receipt_id"]
    assert counts(erased) == {"records": (2, True), **archived}
    eventually(lambda: known.worker.record("vg") is None)
    for who in ({"user_id": "7"}, {"visitor_id": "g"}, {"user_id": "7", "visitor_id": "g"}):
        slate = known.slate(**who)
        assert slate["fallback"]["why"] == "no acts of this user yet"
        assert slate["controls"] == []


def test_a_slate_is_found_in_the_warehouse_when_the_log_has_it_no_more(known: Any) -> None:
    slate_id = known.first["recommendation_id"]
    known.worker.served = type(known.worker.served)()
    known.log.is_off = True

    found = known.client.get(f"/v1/recommendations/{slate_id}")

    assert found.json()["items"] == known.first["items"]
    known.log.is_off = False


def test_without_the_warehouse_an_export_is_refused_and_an_erasure_says_what_it_cannot(
    start_system: Any, eventually: Wait
) -> None:
    def away() -> Any:
        raise Unavailable("off")

    system = start_system(ports={"open_warehouse": away})
    act(system, eventually, "a", user_id="7")

    assert system.client.get("/v1/users/7/export").json()["code"] == "warehouse_away"
    answer = system.client.request("DELETE", "/v1/users/7")
    assert answer.status_code == 200
    assert counts(answer)["records"] == (1, True)
    assert counts(answer)["archive: events"] == (None, False)
    assert system.worker.record("u7") is None


def test_what_cannot_be_erased_now_is_answered_so(shop: Any) -> None:
    shop.state.is_off = True
    assert shop.client.request("DELETE", "/v1/users/7").json()["code"] == "state_away"
    shop.state.is_off = False
    shop.log.is_off = True
    assert shop.client.request("DELETE", "/v1/users/7").status_code == 202
