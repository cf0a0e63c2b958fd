"""More comes in than can be kept: what the API answers, and that it keeps what it acknowledged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest

import serving.appender
from online.core.partition import EVENTS
from schemas.event import decode_event
from serving.admission import MAX_WAITING_BYTES


class StalledLog:
    """A log in front of a real one whose appends wait until they are let through, and that is as full as it is told."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.is_open = Event()
        self.used = 0.0

    def append(self, *args: Any) -> Any:
        self.is_open.wait(20.0)
        return self.port.append(*args)

    def fill(self) -> float:
        return self.used

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


@pytest.fixture
def log(system: Any) -> Iterator[StalledLog]:
    system.log.port = stalled = StalledLog(system.log.port)
    yield stalled
    stalled.is_open.set()


@pytest.fixture
def threads(log: StalledLog) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool
        log.is_open.set()


def batch(name: str, rows: int = 500, text: int = 200) -> bytes:
    event = {"event_type": "view", "user_id": "1", "item_id": "a", "properties": {"text": "x" * text}}
    return json.dumps({"events": [{**event, "event_id": f"{name}-{n}"} for n in range(rows)]}).encode()


def post(system: Any, body: bytes) -> httpx.Response:
    answer: httpx.Response = system.client.post("/v1/events", content=body)
    return answer


def filled(system: Any, threads: ThreadPoolExecutor, eventually: Callable[..., Any]) -> list[Future[httpx.Response]]:
    """Send batches until no other has room; return the requests that wait."""
    body = len(batch("00"))
    sent = [threads.submit(post, system, batch(f"{n:02d}")) for n in range(MAX_WAITING_BYTES // body)]
    eventually(lambda: system.worker.admission.waiting_bytes > MAX_WAITING_BYTES - body - 4096 * len(sent))
    return sent


def logged(system: Any) -> list[str]:
    return [decode_event(payload).event_id for payload in system.payloads(EVENTS)]


def is_refused(answer: httpx.Response, status: int, code: str) -> bool:
    document = answer.json()
    wait = answer.headers.get("retry-after", "")
    return (answer.status_code, document["code"]) == (status, code) and wait.isdigit() and int(wait) >= 1


def test_beyond_what_may_wait_events_are_refused_unread_and_told_when_to_come_again(
    system: Any, log: StalledLog, threads: ThreadPoolExecutor, eventually: Callable[..., Any]
) -> None:
    waiting = filled(system, threads, eventually)

    assert is_refused(post(system, batch("more")), 429, "overloaded")
    assert is_refused(post(system, b"{" * 200_000), 429, "overloaded"), "it is not parsed"
    assert is_refused(system.client.post("/v1/items:batch", content=batch("items")), 429, "overloaded")
    log.is_open.set()

    answers = [one.result() for one in waiting]
    assert [answer.status_code for answer in answers] == [202] * len(waiting)
    assert len(logged(system)) == 500 * len(waiting)
    assert post(system, batch("more")).status_code == 202
    assert 'headrace_refused_requests_total{code="overloaded"} 3.0' in system.client.get("/metrics").text


def test_a_body_without_length_is_refused_when_it_does_not_fit(
    system: Any, threads: ThreadPoolExecutor, eventually: Callable[..., Any]
) -> None:
    filled(system, threads, eventually)

    async def pieces() -> Any:
        for _ in range(10):
            yield b" " * 50_000

    assert is_refused(system.client.post("/v1/events", content=pieces()), 429, "overloaded")


def test_slates_are_served_while_events_are_refused(
    system: Any, threads: ThreadPoolExecutor, eventually: Callable[..., Any]
) -> None:
    filled(system, threads, eventually)
    assert post(system, batch("more")).status_code == 429

    assert system.client.get("/v1/recommendations/1").status_code == 200


def test_with_the_spool_full_too_bodies_are_refused_unread_until_the_log_is_back(
    system: Any, eventually: Callable[..., Any]
) -> None:
    system.worker.appender._spool._cap = 600_000
    system.log.is_off = True
    answers = [post(system, batch(f"{n}")) for n in range(10)]
    kept = [str(n) for n, answer in enumerate(answers) if answer.status_code == 202]

    assert 0 < len(kept) < 10
    assert all(is_refused(answer, 503, "not_kept") for answer in answers if answer.status_code != 202)
    assert is_refused(post(system, b"{broken"), 503, "not_kept"), "it is not parsed"
    system.log.is_off = False

    eventually(lambda: post(system, batch("later")).status_code == 202)
    eventually(lambda: f"{kept[-1]}-499" in logged(system))
    assert [i for i in logged(system) if not i.startswith("later")] == [f"{k}-{n}" for k in kept for n in range(500)]


def test_a_log_short_of_room_gets_no_event_until_it_has_room_again(
    system: Any, log: StalledLog, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(serving.appender, "FILL_S", 0.0)
    log.is_open.set()
    log.used = 0.85

    assert post(system, batch("a", rows=3)).status_code == 202
    assert logged(system) == []
    assert system.worker.appender.spooled_bytes > 0
    log.used = 0.7

    eventually(lambda: logged(system) == ["a-0", "a-1", "a-2"])
