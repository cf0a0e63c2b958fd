from __future__ import annotations

from typing import Any

import pytest

IDS = {
    "a/b": "a%2Fb",
    "/": "%2f",
    "a/preferences": "a%2Fpreferences",
    "a:merge": "a:merge",
    "50%2F": "50%252F",
    "é/": "%C3%A9%2F",
}


@pytest.mark.parametrize("user_id", IDS)
def test_ids_may_hold_slashes_wherever_a_path_names_one(shared_system: Any, eventually: Any, user_id: str) -> None:
    client, path = shared_system.client, IDS[user_id]

    item = client.put(f"/v1/items/{path}", json={"brand": "acme"})
    user = client.put(f"/v1/users/{path}", json={"labels": ["vip"]})
    wanted = client.put(f"/v1/users/{path}/preferences", json={"muted_brands": ["acme"]})
    merged = client.post(f"/v1/users/{path}:merge", json={"visitor_id": "g"})

    assert (item.json()["item_id"], user.json()["user_id"]) == (user_id, user_id)
    assert (wanted.json()["user_id"], merged.json()) == (user_id, {"user_id": user_id, "visitor_id": "g"})
    assert client.get(f"/v1/items/{path}").json()["item_id"] == user_id
    known = eventually(lambda: client.get(f"/v1/users/{path}").status_code == 200 and client.get(f"/v1/users/{path}"))
    assert known.json()["user_id"] == user_id
    assert client.request("DELETE", f"/v1/items/{path}").status_code == 204


@pytest.mark.parametrize("path", ["/v1/users/a/b:merge", "/v1/%2F", "/v1%2Fusers/7", "/%2F", "/v1/users/%2F%00"])
def test_a_path_of_other_parts_is_no_path(shared_system: Any, path: str) -> None:
    answer = shared_system.client.post(path, json={"visitor_id": "g"})

    assert answer.status_code in (404, 405, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_slash_in_what_is_no_id_is_refused(shared_system: Any) -> None:
    for path in ("/v1/dead-letters/a%2Fb", "/v1/models/a%2Fb/versions/1:activate", "/v1/recommendations/0%2F1/next"):
        method = "GET" if "dead" in path else "POST"
        assert shared_system.client.request(method, path, json={}).status_code in (404, 422), path
