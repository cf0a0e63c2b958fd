from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from online.adapters.clickhouse import ClickHouse
from online.ports import Unavailable, WarehouseError


@contextmanager
def answering_everything_with(response: bytes | None) -> Iterator[str]:
    """Run a server that gives every request the same bytes, or none at all; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections: list[socket.socket] = []

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections.append(connection)
                if response is not None:
                    connection.recv(65536)
                    connection.sendall(response)
                    connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield f"http://default:key@127.0.0.1:{listener.getsockname()[1]}/default"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def refusal(status: str, code: str) -> bytes:
    body = b"Code: x. DB::Exception: no"
    head = f"HTTP/1.1 {status}\r\n{code}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("code", [159, 202, 241, 252, 999])
def test_clickhouse_s_passing_troubles_are_unavailable(code: int) -> None:
    response = refusal("500 Internal Server Error", f"X-ClickHouse-Exception-Code: {code}\r\n")
    with answering_everything_with(response) as url:
        warehouse = ClickHouse(url)
        with pytest.raises(Unavailable):
            warehouse.query("SELECT 1")
        warehouse.close()


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
def test_a_proxy_without_a_server_behind_it_is_unavailable(status: str) -> None:
    with answering_everything_with(refusal(status, "")) as url:
        warehouse = ClickHouse(url)
        with pytest.raises(Unavailable):
            warehouse.query("SELECT 1")
        warehouse.close()


def test_a_server_that_is_no_clickhouse_is_refused_not_away() -> None:
    with answering_everything_with(refusal("404 Not Found", "")) as url:
        warehouse = ClickHouse(url)
        with pytest.raises(WarehouseError):
            warehouse.query("SELECT 1")
        warehouse.close()


def test_a_server_that_never_answers_is_unavailable_after_the_timeout() -> None:
    with answering_everything_with(None) as url:
        warehouse = ClickHouse(url, timeout_s=1)
        start = time.monotonic()
        with pytest.raises(Unavailable):
            warehouse.query("SELECT 1")
        waited_s = time.monotonic() - start
        warehouse.close()

    assert waited_s < 5


def test_a_wrong_key_is_refused_not_away(warehouse_url: str) -> None:
    parts = urlsplit(warehouse_url)
    warehouse = ClickHouse(f"http://default:wrong@{parts.hostname}:{parts.port}/default")

    with pytest.raises(WarehouseError) as error:
        warehouse.query("SELECT 1")
    warehouse.close()
    assert error.value.code == 516


def test_no_error_shows_the_key(warehouse_url: str) -> None:
    warehouse = ClickHouse(warehouse_url)
    with pytest.raises(WarehouseError) as error:
        warehouse.query("SELECT nothing")
    warehouse.close()

    assert (urlsplit(warehouse_url).password or "-") not in str(error.value)


def test_loopback_is_reached_without_the_proxy_of_the_environment(
    warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    warehouse = ClickHouse(warehouse_url)

    assert warehouse.query("SELECT 1") == [(1,)]
    warehouse.close()
