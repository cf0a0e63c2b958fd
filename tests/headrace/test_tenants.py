"""Two tenants with the same ids on one real system: neither sees or touches anything of the other."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from headrace.api_keys import create_key
from headrace.bench.rig import running
from headrace.keys import prepare_data_dir
from headrace.settings import Settings, SettingsError, Tenant, load_settings, own_settings
from headrace.state_report import report
from headrace.supervisor import free_port
from headrace.system import FLOWS, api_url, located, plan
from schemas.tenant import DEFAULT_TENANT

SECRET_SCOPES: list[Any] = ["ingest", "read", "admin"]


class Shops(NamedTuple):
    """A client of each of two tenants."""

    settings: Settings
    default: httpx.Client
    acme: httpx.Client


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shops]:
    data_dir = prepare_data_dir(tmp_path_factory.mktemp("tenants"))
    settings = own_settings(data_dir, free_port()).model_copy(update={"tenants": {"acme": Tenant()}})
    keys = [
        create_key(data_dir, name=tenant, scopes=SECRET_SCOPES, now=time.time(), tenant=tenant)[0]
        for tenant in (DEFAULT_TENANT, "acme")
    ]
    with running(settings, flows=("state",), api=True) as system:
        clients = [
            httpx.Client(base_url=api_url(system.settings), headers={"X-API-Key": key}, timeout=30.0) for key in keys
        ]
        yield Shops(system.settings, *clients)
        for client in clients:
            client.close()


def fill(client: httpx.Client, mark: str) -> None:
    """Tell a tenant of an item, a user, a visitor, documents and a rule, all with ids that the other has too."""
    item = {"item_id": "a", "categories": [mark], "price": 5}
    assert client.post("/v1/items:batch", json={"items": [item]}).status_code == 202
    assert client.put("/v1/users/7", json={"labels": [mark]}).status_code == 200
    views = [{"event_type": "view", "user_id": "7", "item_id": "a", "event_id": f"e-{n}"} for n in range(3)]
    kept = client.post("/v1/events", json={"events": views}).json()
    assert (kept["accepted"], kept["duplicates"]) == (3, 0)
    assert client.put(f"/v1/policies/{mark}", json={"tau": 0.5}).status_code == 200
    assert client.put(f"/v1/surfaces/{mark}", json={"n": 3}).status_code == 200
    rule = {"action": "boost", "where": "item.price > 1.0", "factor": 2.0}
    assert client.put(f"/v1/rules/{mark}", json=rule).status_code == 200


def test_no_route_shows_a_tenant_what_another_was_told(shops: Shops, eventually: Callable[..., Any]) -> None:
    fill(shops.acme, "of-acme")

    for path in ("/v1/items/a", "/v1/users/7", "/v1/policies/of-acme", "/v1/surfaces/of-acme", "/v1/rules/of-acme"):
        eventually(lambda path=path: shops.acme.get(path).status_code == 200)
        assert shops.default.get(path).status_code == 404
    for path in ("/v1/policies", "/v1/surfaces", "/v1/rules", "/v1/models", "/v1/dead-letters", "/openapi.json"):
        answer = shops.default.get(path)
        assert (answer.status_code, "of-acme" in answer.text) == (200, False), path
    assert shops.default.post("/v1/rules/of-acme:dry_run", json={}).status_code == 404
    assert shops.default.get("/v1/items/a/similar").status_code == 404
    assert shops.default.post("/v1/recommendations", json={"user_id": "7"}).json()["items"] == []
    asked = {"user_id": "8", "deadline_ms": 60_000}
    items = eventually(lambda: shops.acme.post("/v1/recommendations", json=asked).json()["items"])
    assert [item["item_id"] for item in items] == ["a"]

    fill(shops.default, "of-default")

    user = eventually(lambda: shops.default.get("/v1/users/7").json().get("events") == {"view": 3})
    assert user
    assert shops.default.get("/v1/items/a").json()["categories"] == ["of-default"]
    assert shops.acme.get("/v1/items/a").json()["categories"] == ["of-acme"]
    shops.default.delete("/v1/items/a")
    assert shops.acme.get("/v1/items/a").status_code == 200
    assert shops.acme.get("/v1/rules/of-default").status_code == 404


def test_metrics_count_for_each_tenant_apart(shops: Shops) -> None:
    before = shops.default.get("/metrics").text
    shops.acme.post("/v1/events", json={"event_type": "view", "user_id": "9", "item_id": "b"})

    def accepted(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith('headrace_events_total{outcome="accepted"}')]

    assert accepted(shops.default.get("/metrics").text) == accepted(before)


def test_a_command_is_about_the_tenant_of_the_settings(shops: Shops) -> None:
    whole = shops.settings.model_copy(update={"log": "", "state": ""})
    theirs, default = located(whole.model_copy(update={"tenant": "acme"})), located(whole)
    before = report(theirs)["events"], report(default)["events"]
    shops.acme.post("/v1/events", json={"event_type": "view", "user_id": "11", "item_id": "b"})

    assert theirs.log.endswith("?namespace=acme")
    assert theirs.data_dir == whole.data_dir / "tenants" / "acme"
    assert (report(theirs)["events"], report(default)["events"]) == (before[0] + 1, before[1])


def test_every_tenant_has_flows_of_its_own(tmp_path: Path) -> None:
    tenants = {DEFAULT_TENANT: Tenant(per_s=5), "acme": Tenant()}
    system = plan(own_settings(tmp_path, free_port()).model_copy(update={"tenants": tenants, "state_flows": 2}))

    names = {service.name: service.env for service in system.services if service.name.startswith("flow")}
    theirs = {f"flow-{name}" for name in FLOWS} | {"flow-state-1"}
    assert set(names) == theirs | {re.sub("^(flow-[a-z]+)", r"\1-acme", name) for name in theirs}
    for name in ("LOG", "STATE", "WAREHOUSE", "DATA_DIR"):
        assert names["flow-state"][f"HEADRACE_{name}"] != names["flow-state-acme"][f"HEADRACE_{name}"]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"tenants": '{"Acme": {}}'}, "HEADRACE_TENANTS"),
        ({"tenants": '{"../x": {}}'}, "HEADRACE_TENANTS"),
        ({"tenants": '{"acme": {"limit": 5}}'}, "HEADRACE_TENANTS"),
        ({"tenants": '{"acme": {"user_token_key": "short"}}'}, "at least 32 characters"),
        ({"tenants": "acme"}, "it is no JSON"),
        ({"tenants": '{"acme": {}}', "tenant": "other"}, "one of HEADRACE_TENANTS: acme, default"),
    ],
)
def test_what_is_no_tenant_is_refused(settings: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        load_settings(**settings)
