from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Event, Thread

import pytest

from headrace.verify.client import Client, Stopped
from replay.http_system import Rejected

ACCEPTED = (202, b'{"accepted":1,"rejected":0}')


class Server(HTTPServer):
    """Gives its answers in order, the last one again and again; None: closes the connection without one."""

    answers: list[tuple[int, bytes] | None]
    bodies: list[bytes]


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer[0])
        self.send_header("Content-Length", str(len(answer[1])))
        self.end_headers()
        self.wfile.write(answer[1])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), _Answering) as made:
        made.bodies, made.answers = [], [ACCEPTED]
        thread = Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("refusal", [None, (429, b"{}"), (503, b"{}")])
def test_what_was_not_acknowledged_is_sent_again_as_it_was(server: Server, refusal: tuple[int, bytes] | None) -> None:
    server.answers = [refusal, refusal, ACCEPTED]
    client = Client("127.0.0.1", server.server_port, Event())

    answer = client.kept("POST", "/v1/events", {"event_id": "e"})

    assert answer["accepted"] == 1
    assert server.bodies == [b'{"event_id":"e"}'] * 3
    client.close()


@pytest.mark.parametrize("answer", [(422, b'{"code":"invalid"}'), (202, b'{"accepted":0,"rejected":1}')])
def test_what_can_never_be_accepted_is_told(server: Server, answer: tuple[int, bytes]) -> None:
    server.answers = [answer]
    client = Client("127.0.0.1", server.server_port, Event())

    with pytest.raises(Rejected, match="/v1/events"):
        client.kept("POST", "/v1/events", {})
    client.close()


def test_a_client_that_is_stopped_gives_up(server: Server) -> None:
    stop = Event()
    stop.set()

    with pytest.raises(Stopped):
        Client("127.0.0.1", server.server_port, stop).kept("POST", "/v1/events", {})
    assert server.bodies == []
