from __future__ import annotations

import socket
import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from headrace.verify.proxy import BLACK_HOLE, HALF_OPEN, REFUSED, RESET, SOUND, Fault, FaultProxy

SAID = b"x" * 2000


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):
            while said := self.request.recv(4096):
                self.request.sendall(said)


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture(params=["tcp", "unix"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FaultProxy]:
    """A sound proxy in front of a service that says what it is told."""
    server: socketserver.BaseServer
    if request.param == "tcp":
        server = TcpServer(("127.0.0.1", 0), Echo)
        where: tuple[str, int] | str = ("127.0.0.1", server.server_address[1])
    else:
        where = str(tmp_path / "echo.sock")
        server = UnixServer(where, Echo)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with FaultProxy(where) as proxy:
        yield proxy
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def connect(proxy: FaultProxy) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", proxy.port), timeout=10.0))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def heard(client: socket.socket, said: bytes = SAID) -> bytes:
    client.sendall(said)
    return received(client, len(said))


def received(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := client.recv(size - len(found))):
        found += piece
    return found


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(1) is None
    except TimeoutError:
        return True
    finally:
        client.settimeout(10.0)


def test_a_sound_way_passes_everything_both_ways(connect: Callable[[], socket.socket]) -> None:
    client = connect()

    assert heard(client) == SAID
    assert heard(client, SAID * 100) == SAID * 100


@pytest.mark.parametrize(
    ("fault", "least_s"), [(Fault("latency", delay_s=0.03), 0.06), (Fault("slow", bytes_per_s=40_000.0), 0.05)]
)
def test_a_delayed_or_throttled_way_passes_the_same_later(
    proxy: FaultProxy, connect: Callable[[], socket.socket], fault: Fault, least_s: float
) -> None:
    client = connect()
    heard(client)
    proxy.inject(fault)
    began = time.monotonic()

    assert heard(client) == SAID
    assert time.monotonic() - began >= least_s


def test_a_reset_way_ends_old_and_new_connections(proxy: FaultProxy, connect: Callable[[], socket.socket]) -> None:
    old = connect()
    heard(old)
    proxy.inject(RESET)

    for reached in (lambda: old, connect):
        with pytest.raises(ConnectionError):
            heard(reached())
    proxy.inject(SOUND)
    assert heard(connect()) == SAID


def test_a_refused_way_takes_no_connection_until_it_ends_on_the_same_port(
    proxy: FaultProxy, connect: Callable[[], socket.socket]
) -> None:
    heard(connect())
    proxy.inject(REFUSED)

    with pytest.raises(ConnectionRefusedError):
        connect()
    proxy.inject(SOUND)
    assert heard(connect()) == SAID


def test_behind_a_half_open_way_old_connections_are_silent_for_ever_and_new_ones_sound(
    proxy: FaultProxy, connect: Callable[[], socket.socket]
) -> None:
    old = connect()
    heard(old)
    proxy.inject(HALF_OPEN)
    old.sendall(SAID)

    assert is_silent(old)
    assert heard(connect()) == SAID
    proxy.inject(SOUND)
    assert is_silent(old)


def test_a_black_hole_lets_nothing_through_and_everything_at_its_end(
    proxy: FaultProxy, connect: Callable[[], socket.socket]
) -> None:
    old = connect()
    heard(old)
    proxy.inject(BLACK_HOLE)
    new = connect()
    for client in (old, new):
        client.sendall(SAID)

    assert is_silent(old)
    assert is_silent(new)
    proxy.inject(SOUND)
    assert received(old, len(SAID)) == received(new, len(SAID)) == SAID


def test_a_service_that_is_not_there_is_a_connection_that_ends() -> None:
    def ask(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=10.0) as client:
            heard(client)

    with FaultProxy("/nowhere/service.sock") as proxy, pytest.raises(ConnectionError):
        ask(proxy.port)
