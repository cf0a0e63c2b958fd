from __future__ import annotations

from typing import Any

from serving import events, recommendations
from serving.app import HOT
from serving.hot_paths import hot_endpoints


def test_every_hot_path_is_that_of_a_declared_route(system: Any) -> None:
    routers = [recommendations.router(system.worker), events.router(system.worker)]

    assert hot_endpoints(routers, HOT).keys() == HOT


def test_a_hot_path_answers_errors_as_every_other_does(system: Any) -> None:
    refused = system.client.post("/v1/recommendations", json={"n": 0, "user_id": "1"})

    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["field"] == "n"


def test_another_method_on_a_hot_path_is_refused_as_everywhere(system: Any) -> None:
    assert system.client.put("/v1/recommendations", json={}).status_code == 405
