from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

MARK = "EchoOfTheInput"
ROUTES = [
    ("POST", "/v1/events"),
    ("POST", "/v1/items:batch"),
    ("PUT", "/v1/items/known"),
    ("PATCH", "/v1/items/known"),
    ("PUT", "/v1/users/u"),
    ("POST", "/v1/recommendations"),
]


def full(value: bytes) -> list[bytes]:
    """Return bodies that put a value where each route looks."""
    return [
        b'{"event_type":"view","user_id":%s,"item_id":"a"}' % value,
        b'{"event_type":"view","user_id":"1","item_id":"a","value":%s}' % value,
        b'{"event_type":"view","user_id":"1","item_id":"a","properties":{"p":%s}}' % value,
        b'{"event_type":"view","user_id":"1","item_id":"a","timestamp":%s}' % value,
        b'{"event_type":"view","user_id":"1","items":[{"item_id":"a","price":%s,"position":%s}]}' % (value, value),
        b'{"events":[{"event_type":%s,"user_id":"1","item_id":"a"}]}' % value,
        b'{"events":%s}' % value,
        b'{"items":[{"item_id":%s,"price":%s,"embedding":[%s],"available_to":%s}]}' % (value, value, value, value),
        b'{"items":%s}' % value,
        b'{"price":%s}' % value,
        b'{"created_at":%s}' % value,
        b'{"attributes":{"a":%s}}' % value,
        b'{"embedding":%s,"categories":%s}' % (value, value),
        b'{"labels":[%s],"context":{"c":%s}}' % (value, value),
        b'{"user_id":%s,"n":%s}' % (value, value),
        b'{"user_id":"1","seed":%s,"diversity":%s,"exploration":%s}' % (value, value, value),
        b'{"user_id":"1","session_items":%s,"timestamp":%s,"context":{"c":%s}}' % (value, value, value),
    ]


VALUES = [
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"9" * 400,
    b"9" * 5000,
    b"-1",
    b"1e308",
    b"18446744073709551616",
    b'"\\ud800%s"' % MARK.encode(),
    b'"%s\\u0000"' % MARK.encode(),
    b'"%s"' % (MARK.encode() * 10_000),
    b'"\xff\xfe%s"' % MARK.encode(),
    b"[" * 10_000,
    b'{"a":' * 150 + b"1" + b"}" * 150,
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'{"%s \\" <script>":1}' % MARK.encode(),
    b'["%s"]' % MARK.encode(),
]

WHOLE = [
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe\x00\x00",
    b"\xef\xbb\xbf",
    b"null",
    b"[]",
    b"{}",
    b"7",
    b"true",
    b'"%s"' % MARK.encode(),
    b"{",
    b"}",
    b"{'a':1}",
    b'{"a":1,}',
    b"{/* %s */}" % MARK.encode(),
    b'{"events"',
    b'{"events":',
    b'{"events":[}',
    b"[" * 10_000,
    b'{"a":' * 10_000,
    b'{"user_id":"1","user_id":{"%s !":1}}' % MARK.encode(),
    b'{"events":[],"events":[{"%s !":1}]}' % MARK.encode(),
    b'{"events":[],"%s !":1}' % MARK.encode(),
    b'{"event_type":"view","%s <%s>":1}' % (MARK.encode(), b"k" * 5000),
    b"{%s}" % b",".join(b'"%s key %d":1' % (MARK.encode(), n) for n in range(5000)),
    b'{"events":[%s]}' % b",".join([b'{"%s ":1}' % MARK.encode()] * 900),
    b'{"user_id":"%s"' % MARK.encode() + b" " * (5 * 1024 * 1024) + b"}",
    b"%s" % (MARK.encode() * 400_000),
    "{“user_id”:1}".encode(),
    '{"user_id":"1"}'.encode("utf-16"),
    b"event_type=view&user_id=1",
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--",
    b'{"context":{%s}}' % b",".join(b'"%s-%d":1' % (b"k" * 200, n) for n in range(100)),
]

CORPUS = [*WHOLE, *(body for value in VALUES for body in full(value))]


def is_small_problem(answer: Any) -> bool:
    document = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and len(answer.content) <= 4096
        and document["status"] == answer.status_code
        and bool(document["detail"])
        and MARK not in answer.text
    )


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_body_is_answered_with_a_server_error_or_an_echo(system: Any, method: str, path: str) -> None:
    system.put_items("known")
    refused = 0

    for body in CORPUS:
        answer = system.client.request(method, path, content=body)
        assert answer.status_code < 500, (body[:200], answer.text)
        if answer.status_code >= 400:
            refused += 1
            assert is_small_problem(answer), (body[:200], answer.text[:500])
        elif answer.status_code == 202:
            assert MARK not in answer.text
    assert refused > len(CORPUS) // 2
    assert system.client.get("/health/live").status_code == 200


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/jsonl", "text/plain", "", "\x80"])
def test_no_lines_are_answered_with_a_server_error_or_an_echo(shared_system: Any, content_type: str) -> None:
    headers = {"Content-Type": content_type.encode("latin-1")}

    for body in WHOLE:
        answer = shared_system.client.post("/v1/events", content=body, headers=headers)
        assert answer.status_code < 500, (body[:200], answer.text)
        assert MARK not in answer.text
        assert answer.status_code == 202 or is_small_problem(answer)


def test_what_was_taken_of_it_can_be_folded(system: Any, eventually: Any) -> None:
    for body in CORPUS:
        for path in ("/v1/events", "/v1/items:batch"):
            system.client.post(path, content=body)
        system.client.put("/v1/users/last", content=body)

    system.client.put("/v1/users/last", json={"labels": ["the last"]})
    system.client.post("/v1/events", json={"event_type": "view", "user_id": "last", "item_id": "a"})

    def folded() -> bool:
        record = system.worker.record("ulast")
        return record is not None and record.labels == ["the last"] and bool(record.counts)

    assert eventually(folded)
    assert system.payloads("dead") == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/recommendations/1?n=abc",
        "/v1/recommendations/1?n=0",
        "/v1/recommendations/1?n=1e999",
        f"/v1/recommendations/1?n={'9' * 5000}",
        "/v1/recommendations/1?surface=",
        f"/v1/recommendations/1?surface={MARK}%00",
        f"/v1/recommendations/{MARK}%00",
        f"/v1/recommendations/{MARK}{'x' * 300}",
        f"/v1/items/{MARK}%01/similar?n={MARK}",
        f"/v1/items/{MARK}%0A",
        f"/v1/users/{MARK}%7F",
    ],
)
def test_a_path_or_query_that_does_not_fit_is_a_problem_that_names_its_part(shared_system: Any, path: str) -> None:
    answer = shared_system.client.get(path)

    assert answer.status_code == 422
    assert is_small_problem(answer)
    assert answer.json()["errors"][0]["field"] in ("n", "surface", "user_id", "item_id")


@pytest.mark.parametrize("path", ["/v1/items/%ED%A0%80", "/v1/items/%FF", "/v1/recommendations/%C3%28"])
def test_a_path_that_is_no_utf8_is_refused(shared_system: Any, path: str) -> None:
    answer = shared_system.client.get(path)

    assert answer.status_code == 400
    assert is_small_problem(answer)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/events/x/y", 404),
        ("GET", "/v1/events", 405),
        ("DELETE", "/v1/recommendations", 405),
        ("HEAD", "/v1/recommendations/1", 405),
        ("OPTIONS", "/v1/events", 405),
        ("POST", "/health/live", 405),
        ("BREW", "/v1/events", 405),
        ("GET", "/static-offline-docs/../app.py", 404),
        ("GET", "/static-offline-docs/nothing.js", 404),
    ],
)
def test_wrong_paths_and_methods_are_problems(shared_system: Any, method: str, path: str, status: int) -> None:
    answer = shared_system.client.request(method, path)

    assert answer.status_code == status
    assert method == "HEAD" or is_small_problem(answer)
    if status == 405:
        assert answer.headers["allow"]


def test_a_defect_is_answered_without_its_details(system: Any) -> None:
    def broken(key: str) -> None:
        raise RuntimeError(f"{MARK} {key}")

    system.worker.record = broken

    answer = system.client.get("/v1/users/1")

    assert answer.status_code == 500
    assert is_small_problem(answer)


def test_all_fields_that_do_not_fit_are_named_at_once(shared_system: Any) -> None:
    body = {"event_type": "nothing", "value": "x", "position": 0, "currency": "euro"}

    errors = shared_system.client.post("/v1/events", json=body).json()["errors"]

    assert {error["field"] for error in errors} == {"event_type", "value", "position", "currency"}
    assert json.dumps(errors).count("euro") == 0


def test_a_body_that_arrives_drop_by_drop_is_given_up(system: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drops() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60.0)

    monkeypatch.setattr("serving.body.BODY_S", 0.05)
    for method, path in (("POST", "/v1/events"), ("PUT", "/v1/users/7")):
        answer = system.client.request(method, path, content=drops())
        assert (answer.status_code, answer.json()["code"]) == (408, "slow_body")
    assert system.worker.admission.waiting_bytes == 0
