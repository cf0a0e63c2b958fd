"""The Python client against a server that answers as it is told; against a real API: tests/e2e/test_system.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

import pytest

from headrace.client import BATCH, Client, Refused, Unreachable
from headrace.supervisor import free_port
from schemas.event import EventIn
from schemas.item import ItemIn
from schemas.preferences import PreferencesIn
from schemas.slate import RankIn, RecommendIn

KEPT = (202, {}, {"accepted": 1, "duplicates": 0, "rejected": 0, "errors": [], "took_ms": 0.1})
BUSY = (429, {"Retry-After": "7"}, {"code": "overloaded"})


def problem(status: int, code: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    return status, {}, {"type": "about:blank", "title": "", "status": status, "detail": "why", "code": code}


class Asked(NamedTuple):
    method: str
    path: str
    key: str | None
    body: Any


class Server:
    """Answers with what is in `answers`, one after the other, and remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], Any]] = []
        self.asked: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, self.headers.get("X-API-Key"), json.loads(body or b"null"))
                server.asked.append(asked)
                status, headers, document = server.answers.pop(0)
                payload = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

            def log_message(self, *words: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = Thread(target=self._http.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def client(server: Server, slept: list[float]) -> Iterator[Client]:
    with Client(server.url, api_key="secret", sleep=slept.append) as client:
        yield client


def click(**fields: Any) -> EventIn:
    return EventIn(event_type="click", user_id="7", item_id="a", **fields)


def test_events_are_sent_again_under_the_same_ids_after_the_time_that_was_asked_for(
    server: Server, client: Client, slept: list[float]
) -> None:
    server.answers = [BUSY, problem(503, "not_kept"), KEPT]

    kept = client.send([click()])

    assert kept.accepted == 1
    first, second, third = (asked.body["events"] for asked in server.asked)
    assert first == second == third
    assert len(first[0]["event_id"]) == 32
    assert first[0]["timestamp"] > 0
    assert 7.0 <= slept[0] < 14.0
    assert 1.0 <= slept[1] < 2.0
    assert {asked.key for asked in server.asked} == {"secret"}


def test_ids_and_times_that_are_given_stay(server: Server, client: Client) -> None:
    server.answers = [KEPT]

    client.send([click(event_id="mine", timestamp=0.0)])

    assert server.asked[0].body["events"] == [
        {"event_type": "click", "user_id": "7", "item_id": "a", "event_id": "mine", "timestamp": 0.0}
    ]


def test_many_rows_go_in_batches_and_errors_name_the_row_of_the_whole(server: Server, client: Client) -> None:
    error = {"index": 1, "code": "invalid", "message": "no", "field": "price"}
    some = (202, {}, {"accepted": BATCH - 1, "rejected": 1, "errors": [error]})
    server.answers = [some, some, (202, {}, {"accepted": 3, "rejected": 0, "errors": []})]

    kept = client.put_items([ItemIn(item_id=f"i{n}") for n in range(2 * BATCH + 3)])

    assert [len(asked.body["items"]) for asked in server.asked] == [BATCH, BATCH, 3]
    assert (kept.accepted, kept.rejected) == (2 * BATCH + 1, 2)
    assert [one.index for one in kept.errors] == [1, BATCH + 1]


def test_what_was_not_acknowledged_is_told_and_can_be_sent_again(server: Server, client: Client) -> None:
    server.answers = [KEPT, problem(401, "no_key"), KEPT]
    events = [click(value=float(n)) for n in range(BATCH + 2)]

    with pytest.raises(Refused) as refused:
        client.send(events)
    client.send(refused.value.unsent)

    second, again = (asked.body["events"] for asked in server.asked[1:])
    assert second == again
    assert [row["value"] for row in second] == [BATCH, BATCH + 1]


def test_a_refusal_carries_its_problem_and_is_not_repeated(server: Server, client: Client, slept: list[float]) -> None:
    document = problem(422, "invalid")[2] | {"errors": [{"code": "missing", "field": "n", "message": "no"}]}
    server.answers = [(422, {"Content-Type": "application/problem+json"}, document)]

    with pytest.raises(Refused, match="422 invalid: why") as refused:
        client.merge("7", "guest")

    assert refused.value.problem.errors[0].field == "n"
    assert slept == []
    assert server.asked == [Asked("POST", "/v1/users/7:merge", "secret", {"visitor_id": "guest"})]


def test_a_request_for_a_slate_waits_for_nothing(server: Server, client: Client, slept: list[float]) -> None:
    server.answers = [(429, {"Retry-After": "3"}, problem(429, "overloaded")[2])]

    with pytest.raises(Refused) as refused:
        client.recommend(RecommendIn(user_id="7", n=5))

    assert (refused.value.retry_after_s, slept) == (3.0, [])
    assert server.asked[0].body == {"user_id": "7", "n": 5}


@pytest.mark.parametrize("status", [200, 502])
def test_an_answer_of_something_else_is_told_apart(server: Server, status: int) -> None:
    server.answers = [(status, {"Content-Type": "text/html"}, b"<html>")]

    with Client(server.url, patience_s=0.0) as client, pytest.raises(Refused, match="is this the address of the API"):
        client.user("7")


def test_without_an_answer_patience_ends(slept: list[float]) -> None:
    with (
        Client(f"http://127.0.0.1:{free_port()}", patience_s=3.0, sleep=slept.append) as client,
        pytest.raises(Unreachable, match="does not answer") as unreachable,
    ):
        client.send([click()])

    assert 1 <= len(slept) <= 3
    assert len(unreachable.value.unsent) == 1


def test_ids_are_escaped_in_paths(server: Server, client: Client) -> None:
    server.answers = [problem(404, "no_item")]

    with pytest.raises(Refused):
        client.item("a/b c?d")

    assert server.asked[0].path == "/v1/items/a%2Fb%20c%3Fd"


def test_preferences_say_whether_the_next_slate_obeys(server: Server, client: Client) -> None:
    nothing = {"muted_items": [], "muted_brands": [], "muted_categories": [], "boosts": [], "personalization": None}
    stored = {"user_id": "7", "consent": None, "updated_at": 1.0, "forgotten_before": None, "position": "9", **nothing}
    server.answers += [(200, {}, stored), (202, {}, {"updated_at": 1.0, "reflected": False}), (200, {}, stored)]

    assert client.put_preferences("7/8", PreferencesIn(muted_brands=["acme"]))
    assert not client.put_preferences("7/8", PreferencesIn())
    assert client.preferences("7/8").position == "9"
    assert server.asked[0][:2] == ("PUT", "/v1/users/7%2F8/preferences")
    assert server.asked[0].body == {"muted_brands": ["acme"]}


def test_a_slate_is_gone_on_with_by_its_cursor_and_candidates_are_ranked(server: Server, client: Client) -> None:
    slate = {"recommendation_id": "0-a", "decision_id": "0-a", "items": [], "policy_id": "p", "model_version": "1"}
    slate |= {"fallback": None, "state_as_of": {"position": None, "lag_ms": None}, "ope_valid": True, "took_ms": 0.1}
    server.answers += [(200, {}, slate | {"next_cursor": "c"}), (200, {}, slate)]
    server.answers += [(200, {}, slate | {"unknown": ["b"], "ineligible": []})]

    first = client.recommend(RecommendIn(user_id="7"))
    assert client.following(first, n=3).next_cursor is None
    assert client.rank(RankIn(candidates=["a", "b"])).unknown == ["b"]
    assert [asked.path for asked in server.asked[1:]] == ["/v1/recommendations/0-a/next", "/v1/rank"]
    assert [asked.body for asked in server.asked[1:]] == [{"cursor": "c", "n": 3}, {"candidates": ["a", "b"]}]


def test_importing_it_imports_nothing_of_the_server() -> None:
    heavy = {"numpy", "redis", "fastapi", "bytewax", "numba", "chdb", "typer", "online", "serving"}
    program = f"import sys, headrace.client; print(*({heavy!r} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
