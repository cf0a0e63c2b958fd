"""The warehouse on ClickHouse's HTTP interface: a real server, or the embedded one on loopback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3.exceptions import HTTPError

from online.ports import Unavailable, WarehouseError

_CONNECT_TIMEOUT_S = 3

# Errors of ClickHouse that the same call may not meet again: timeouts, overload, no memory or disk, read-only for now.
_TRANSIENT = frozenset({159, 202, 203, 209, 210, 225, 236, 241, 242, 243, 252, 279, 319, 394, 425, 439, 745, 999})

_NOT_ENCODABLE = (ValueError, TypeError, AttributeError)  # what the client lets through from its column writers


class ClickHouse:
    """A warehouse by `http(s)://user:key@host:port/database`; it connects at the first call, not before."""

    def __init__(self, url: str, *, timeout_s: int = 30) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._client: Client | None = None

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, token: str) -> None:
        if not rows:
            return
        # Asynchronous inserts are ClickHouse's default; they would merge batches and so void the token.
        settings = {"async_insert": 0, "insert_deduplicate": 1, "insert_deduplication_token": token}
        with _answering():
            try:
                self._connected().insert(table, rows, column_names=list(columns), settings=settings)
            except _NOT_ENCODABLE as error:
                raise WarehouseError(f"the rows do not fit the columns of {table}: {error}") from error

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with _answering():
            result = self._connected().query(sql, parameters=dict(parameters or {}))
            return cast("list[tuple[Any, ...]]", list(result.result_rows))

    def execute(self, sql: str) -> None:
        with _answering():
            self._connected().command(sql)

    def close(self) -> None:
        if self._client is not None:
            self._client.close_connections()
            self._client.close()
            self._client = None

    def _connected(self) -> Client:
        if self._client is None:
            self._client = _connect(self._url, self._timeout_s)
        return self._client


def _connect(url: str, timeout_s: int) -> Client:
    # A pool given here also keeps clickhouse-connect from sending loopback traffic to a proxy of the environment.
    pool = {"pool_mgr": get_pool_manager()} if _is_loopback(url) else {"dedicated_pool": True}
    return clickhouse_connect.get_client(
        dsn=url,
        interface=urlsplit(url).scheme,
        connect_timeout=_CONNECT_TIMEOUT_S,
        send_receive_timeout=timeout_s,
        query_retries=0,
        autogenerate_session_id=False,  # a session would forbid calls from two threads
        tz_mode="aware",
        **pool,
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or "localhost"
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _answering() -> Iterator[None]:
    """Tell 'does not answer, or not now' (`Unavailable`) from 'refuses this' (`WarehouseError`)."""
    try:
        yield
    except HTTPError as error:
        raise Unavailable(str(error)) from error
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        if code in _TRANSIENT or (code is None and _is_no_answer(error)):
            raise Unavailable(str(error)) from error
        raise WarehouseError(str(error), code) from error


def _is_no_answer(error: ClickHouseError) -> bool:
    """Return whether an error without ClickHouse's code is a lost connection, or a proxy that found no server."""
    return isinstance(error, OperationalError) or "HTTP status 5" in str(error)
