from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from online.core.dead_letter import DEAD, DeadLetter, encode_dead_letter
from serving.grant import Grant

FIXED = {"event_type": "click", "user_id": "7", "item_id": "a"}


@pytest.fixture
def bury(system: Any, eventually: Callable[..., Any]) -> Callable[..., str]:
    """Put a dead letter on the log; return its id once the API shows it."""

    def put(payload: bytes, *, position: str = "p1", reason: str = "why", topic: str = "events") -> str:
        letter = DeadLetter(topic=topic, partition=0, position=position, reason=reason, payload=payload, at=time.time())
        system.log.append(DEAD, [(0, encode_dead_letter(letter))])
        eventually(lambda: system.client.get(f"/v1/dead-letters/{letter.id}").status_code == 200)
        return letter.id

    return put


def listed(system: Any, **query: Any) -> list[str]:
    answer = system.client.get("/v1/dead-letters", params=query)
    assert answer.status_code == 200, answer.text
    return [letter["id"] for letter in answer.json()["letters"]]


def counted(system: Any, user: str) -> Any:
    return system.client.get(f"/v1/users/{user}").json().get("events")


def test_poison_on_the_log_is_listed_with_its_reason_and_shown_with_its_bytes(
    system: Any, eventually: Callable[..., Any]
) -> None:
    (position,) = system.log.append("events", [(1, b"\xff\x00 poison")])
    (key,) = eventually(lambda: listed(system))
    shown = system.client.get(f"/v1/dead-letters/{key}").json()

    assert (shown["topic"], shown["partition"], shown["position"], shown["status"]) == (
        "events",
        1,
        position,
        "pending",
    )
    assert "malformed" in shown["reason"]
    assert (shown["encoding"], base64.b64decode(shown["payload"])) == ("base64", b"\xff\x00 poison")
    assert shown["verdict"] is None


def test_an_edited_letter_counts_once_and_says_who_did_it(
    system: Any, bury: Callable[..., str], eventually: Callable[..., Any]
) -> None:
    key = bury(b'{"event_type": "teleport"}')
    answer = system.client.post(f"/v1/dead-letters/{key}:redrive", json={"payload": FIXED, "reason": "typo"})

    assert answer.status_code == 202
    assert {**answer.json(), "took_ms": 0} == {
        "accepted": 1, "rejected": 0, "errors": [], "left": 0, "applied": True, "took_ms": 0,
    }  # fmt: skip
    eventually(lambda: counted(system, "7") == {"click": 1})
    verdict = system.client.get(f"/v1/dead-letters/{key}").json()["verdict"]
    assert (verdict["by"], verdict["reason"], verdict["edited"]) == ("api", "typo", True)
    again = system.client.post(f"/v1/dead-letters/{key}:redrive", json={"payload": {**FIXED, "user_id": "8"}})
    assert (again.status_code, again.json()["code"]) == (409, "decided")
    assert counted(system, "8") is None


def test_many_are_redriven_and_discarded_by_filter(
    system: Any, bury: Callable[..., str], eventually: Callable[..., Any]
) -> None:
    foreign = {"event_type": "view", "user_id": "9", "item_id": "a"}
    for number in range(3):
        bury(json.dumps(foreign).encode(), position=f"p{number}", topic="shop.clicks")
    broken = bury(b"{", position="p3", topic="shop.clicks")
    noise = bury(b"{", reason="scanner")

    answer = system.client.post("/v1/dead-letters:redrive", json={"filter": {"topic": "shop.clicks"}, "limit": 2})
    assert (answer.json()["accepted"], answer.json()["left"]) == (2, 2)
    answer = system.client.post("/v1/dead-letters:redrive", json={"filter": {"topic": "shop.clicks"}})
    assert (answer.json()["accepted"], [error["id"] for error in answer.json()["errors"]]) == (1, [broken])
    eventually(lambda: counted(system, "9") == {"view": 3})
    answer = system.client.post("/v1/dead-letters:discard", json={"filter": {"reason": "SCAN"}, "reason": "noise"})
    assert answer.json()["accepted"] == 1
    assert listed(system, status="pending") == [broken]
    assert listed(system, status="discarded") == [noise]
    answer = system.client.post("/v1/dead-letters:discard", json={"all": True, "reason": "the rest"})
    assert answer.json()["accepted"] == 1
    assert listed(system, status="pending") == []


def test_pages_are_followed_by_their_cursor(system: Any, bury: Callable[..., str]) -> None:
    keys = [bury(b"{", position=f"p{number}") for number in range(3)]
    first = system.client.get("/v1/dead-letters", params={"limit": 2}).json()

    assert [letter["id"] for letter in first["letters"]] == keys[:0:-1]
    assert listed(system, limit=2, cursor=first["next_cursor"]) == keys[:1]


@pytest.mark.parametrize("size", [1_000_000, 3_000_000])
def test_a_large_letter_is_kept_and_shown_whole(system: Any, bury: Callable[..., str], size: int) -> None:
    key = bury(b"x" * size)

    assert system.client.get(f"/v1/dead-letters/{key}").json()["payload"] == "x" * size


@pytest.mark.parametrize(
    ("path", "body", "status", "complaint"),
    [
        ("/v1/dead-letters:redrive", {}, 422, "give a filter, or all: true"),
        ("/v1/dead-letters:redrive", {"filter": {}}, 422, "give a filter, or all: true"),
        ("/v1/dead-letters:redrive", {"all": True, "limit": 1001}, 422, "limit"),
        ("/v1/dead-letters:redrive", {"filter": {"topics": "a"}}, 422, "did you mean topic"),
        ("/v1/dead-letters:discard", {"all": True}, 422, "reason"),
        ("/v1/dead-letters/events:0:none:discard", {"reason": "r"}, 404, "no such letter"),
        ("/v1/dead-letters/events:0:none:redrive", None, 404, "no such letter"),
        ("/v1/dead-letters/events:0:none:discard", {}, 422, "reason"),
        ("/v1/dead-letters/events:0:none:redrive", {"payload": [1]}, 422, "payload"),
    ],
)
def test_what_does_not_fit_is_a_problem_that_says_what_to_do(
    shared_system: Any, path: str, body: Any, status: int, complaint: str
) -> None:
    answer = shared_system.client.post(path, **({} if body is None else {"json": body}))

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert complaint in answer.text


@pytest.mark.parametrize("query", ["status=lost", "limit=0", "cursor=-1", "since=soon", "partition=x", "limit=1001"])
def test_a_query_that_does_not_fit_is_a_problem(shared_system: Any, query: str) -> None:
    answer = shared_system.client.get(f"/v1/dead-letters?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])


def test_an_edit_that_cannot_be_folded_is_refused_and_the_letter_stays(system: Any, bury: Callable[..., str]) -> None:
    key = bury(b"{")
    answer = system.client.post(f"/v1/dead-letters/{key}:redrive", json={"payload": {**FIXED, "event_type": "x"}})

    assert answer.status_code == 422
    assert "event_type" in answer.json()["detail"]
    assert listed(system, status="pending") == [key]


@pytest.mark.parametrize("away", ["log", "state"])
def test_while_the_log_or_the_store_is_away_nothing_is_decided(
    system: Any, bury: Callable[..., str], eventually: Callable[..., Any], away: str
) -> None:
    key = bury(b"{")
    port = getattr(system, away)
    port.is_off = True
    answer = system.client.post(f"/v1/dead-letters/{key}:discard", json={"reason": "r"})
    port.is_off = False

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert listed(system, status="pending") == [key]


def test_a_verdict_names_the_key_that_was_used(
    start_system: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    digest = sha256(b"secret").hexdigest()
    system = start_system(Grant(digest))
    system.log.append("events", [(0, b"poison")])
    headers = {"X-API-Key": "secret"}
    (letter,) = eventually(lambda: system.client.get("/v1/dead-letters", headers=headers).json()["letters"])

    assert system.client.get("/v1/dead-letters").status_code == 401
    path = f"/v1/dead-letters/{letter['id']}"
    system.client.post(f"{path}:discard", json={"reason": "r"}, headers=headers)
    assert system.client.get(path, headers=headers).json()["verdict"]["by"] == f"key {digest[:12]}"
