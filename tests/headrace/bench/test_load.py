from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import msgspec
import pytest

from headrace.bench.load import Load, requests, running, send
from schemas.event import EventIn


class Handler(BaseHTTPRequestHandler):
    """Answers everything, the first request only after `stall_s`, and remembers the paths."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # head and body in one packet
    stall_s: ClassVar[float] = 0.0
    status: ClassVar[int] = 200
    paths: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_first = not self.paths
        self.paths.append(self.path)
        if is_first:
            time.sleep(self.stall_s)
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[type[Handler]]:
    class Own(Handler):
        paths: ClassVar[list[str]] = []
        port: ClassVar[int]

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    httpd.daemon_threads = True
    Own.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Own
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def load(server: type[Handler], **fields: object) -> Load:
    asked = {"host": "127.0.0.1", "port": server.port, "kind": "slates", "user_ids": ["7"], "seconds": 0.5} | fields
    return msgspec.convert(asked, Load)


def test_an_open_loop_sends_about_as_many_requests_as_were_due(server: type[Handler]) -> None:
    outcome = send(load(server, connections=8, rate=200.0))

    assert outcome.errors == 0
    assert outcome.sent == len(outcome.latencies_ms) == len(server.paths)
    assert 60 < outcome.sent < 150


def test_requests_that_wait_behind_a_stall_count_from_when_they_were_due(server: type[Handler]) -> None:
    server.stall_s = 0.3

    outcome = send(load(server, connections=1, rate=200.0))

    assert sum(latency > 100.0 for latency in outcome.latencies_ms) > 20


def test_a_closed_loop_keeps_its_connections_busy_and_counts_refusals(server: type[Handler]) -> None:
    server.status = 503

    outcome = send(load(server, connections=2, seconds=0.2))

    assert outcome.latencies_ms == []
    assert outcome.errors == outcome.sent == len(server.paths) > 2


def test_a_load_ends_when_it_is_told_to(server: type[Handler]) -> None:
    began = time.monotonic()
    with running(load(server, connections=1, rate=20.0, seconds=60.0)) as process:
        assert process is not None
        time.sleep(0.5)
        outcome = process.result(now=True)

    assert outcome.errors == 0
    assert time.monotonic() - began < 30.0


def test_a_load_that_nobody_waits_for_is_ended(server: type[Handler]) -> None:
    began = time.monotonic()
    with running(load(server, connections=1, rate=20.0, seconds=60.0)):
        pass

    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize("batch", [1, 3])
def test_event_requests_are_valid_and_never_repeat_an_id(batch: int) -> None:
    made = requests(Load(host="h", port=1, kind="events", seconds=1, connections=1, batch=batch))
    bodies = [msgspec.json.decode(next(made).split(b"\r\n\r\n")[1]) for _ in range(2500)]

    rows = [row for body in bodies for row in (body["events"] if batch > 1 else [body])]

    assert len(rows) == batch * 2500
    assert len({row["event_id"] for row in rows}) == len(rows)
    assert EventIn.model_validate(rows[0]).item_id == rows[0]["item_id"]
