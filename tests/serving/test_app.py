from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from online.core.item_table import ItemTable
from online.world import World
from serving.grant import Grant
from serving.worker import Worker

KEY = "schlüssel-7"
GRANTS = [Grant(sha256(key).hexdigest()) for key in (KEY.encode(), b"another")]


def test_health_tells_life_and_readiness(system: Any) -> None:
    system.put_items("a", "b")

    assert system.client.get("/health/live").json() == {"status": "live"}
    ready = system.client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "items": 2, "control_version": "", "worker": "api-0"}


def test_a_worker_that_is_catching_up_is_not_ready(
    start_system: Callable[..., Any], switched_log: Any, eventually: Callable[..., Any]
) -> None:
    switched_log.is_off = True
    client = start_system().client

    answer = client.get("/health/ready")

    assert (answer.status_code, answer.json()["status"]) == (503, "catching up")
    switched_log.is_off = False
    eventually(lambda: client.get("/health/ready").status_code == 200)


def test_a_worker_that_joins_others_knows_the_catalogue_before_it_listens(system: Any) -> None:
    system.put_items("a", "b")
    joining = Worker(replace(system.worker.ports, name="api-1"), World(ItemTable(system.worker.partitions)))

    joining.start(ready_within_s=60.0)

    assert (joining.is_ready, len(joining.world.table)) == (True, 2)
    joining.close()


def test_a_worker_does_not_wait_for_a_log_that_is_away(start_system: Callable[..., Any], switched_log: Any) -> None:
    switched_log.is_off = True
    joining = Worker(replace(start_system().worker.ports, name="api-1"), World(ItemTable(2)))

    joining.start(ready_within_s=0.1)

    assert (joining.is_ready, joining.is_alive) == (False, True)
    joining.close()


def test_a_worker_that_lost_a_thread_is_not_alive(system: Any) -> None:
    system.worker.follower.close()

    assert system.client.get("/health/live").status_code == 503


def test_metrics_are_prometheus_text_that_counts_what_happened(system: Any) -> None:
    system.put_items("a", "b")
    rows = [{"event_type": "view", "user_id": "1", "item_id": "a"}, {"event_type": "view"}]
    system.client.post("/v1/events", json={"events": rows})
    system.slate(user_id="1", surface="home")

    text = system.client.get("/metrics").text

    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["headrace_events_total", "accepted"] == 1
    assert values["headrace_events_total", "rejected"] == 1
    assert sum(value for key, value in values.items() if key[0] == "headrace_slates_total") == 1
    assert values["headrace_slate_seconds_count",] == 1
    assert values["headrace_items",] == 2


def test_surfaces_in_metrics_are_those_of_the_registry(system: Any) -> None:
    system.client.put("/v1/surfaces/lounge", json={})
    for surface in ("lounge", "cart", "surface-1", "surface-2"):
        system.slate(user_id="1", surface=surface)

    text = system.client.get("/metrics").text

    assert set(re.findall(r'headrace_slates_total{.*surface="([^"]*)"', text)) == {"lounge", "cart", "other"}


def test_a_known_key_opens_every_path(start_system: Callable[..., Any]) -> None:
    client = start_system(*GRANTS).client
    known: list[Any] = [
        {"X-API-Key": KEY.encode()},
        {"X-API-Key": "another"},
        {"Authorization": "Bearer another"},
        {"Authorization": b"bearer  " + KEY.encode()},
    ]

    for headers in known:
        assert client.get("/metrics", headers=headers).status_code == 200
        assert client.post("/v1/events", json={"events": []}, headers=headers).status_code == 202


def test_without_a_known_key_only_health_answers(start_system: Callable[..., Any], eventually: Any) -> None:
    system = start_system(*GRANTS)
    eventually(lambda: system.worker.is_ready)
    unknown: list[Any] = [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"X-API-Key": b"\xff\xfe\x80"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic another"},
        {"Authorization": b"Bearer \xff"},
        {"X-API-Key": "x" * 60_000},
    ]

    for headers in unknown:
        for path in ("/v1/items/a", "/docs", "/openapi.json", "/metrics", "/nothing"):
            answer = system.client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "no_key"), (path, headers)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Bearer"
        assert system.client.get("/health/live", headers=headers).status_code == 200
        assert system.client.get("/health/ready", headers=headers).status_code == 200


def test_docs_load_nothing_from_elsewhere(shared_system: Any) -> None:
    page = shared_system.client.get("/docs")

    assert page.status_code == 200
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"/static-offline-docs/{asset}" in page.text
        assert shared_system.client.get(f"/static-offline-docs/{asset}").status_code == 200


def references(document: Any) -> set[str]:
    if isinstance(document, dict):
        own = {document["$ref"]} if isinstance(document.get("$ref"), str) else set()
        return own.union(*(references(value) for value in document.values()))
    return set().union(*map(references, document)) if isinstance(document, list) else set()


def test_every_reference_of_the_openapi_document_resolves(shared_system: Any) -> None:
    document = shared_system.client.get("/openapi.json").json()

    found = references(document)
    assert "#/components/schemas/EventIn" in found
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert isinstance(node, dict)


def test_the_openapi_document_describes_every_body_and_no_default_error(shared_system: Any) -> None:
    document = shared_system.client.get("/openapi.json").json()

    operations = {
        (method, path): operation for path, item in document["paths"].items() for method, operation in item.items()
    }
    assert {path for _, path in operations} >= {
        "/v1/events", "/v1/items/{item_id}", "/v1/items:batch", "/v1/users/{user_id}", "/v1/recommendations",
        "/v1/recommendations/{user_id}", "/v1/items/{item_id}/similar", "/health/ready", "/metrics",
    }  # fmt: skip
    for (method, path), operation in operations.items():
        assert ("requestBody" in operation) == (method in ("post", "put", "patch")), path
        assert operation["description"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
