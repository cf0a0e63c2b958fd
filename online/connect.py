"""Open a port by URL. Nothing else in the program knows which product is behind it."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

from online.adapters.pulsar_url import PULSAR_SCHEMES
from online.ports import EventLog, StateStore, Warehouse, WarehouseError

_UNKNOWN_DATABASE = 81  # of ClickHouse's errors
_REDIS = ("redis", "rediss", "unix")


class BadUrl(ValueError):
    """The URL names no adapter of the port."""


def open_log(url: str, *, timeout_s: float = 5.0) -> EventLog:
    """Return the event log at `pulsar://…`, `pulsar+ssl://…`, `redis://…`, `rediss://…`, `unix://…` or `memory:`.

    >>> open_log("memory:").create("events", 4)
    4
    """
    scheme = urlsplit(url).scheme
    if scheme in _REDIS:
        from online.adapters.redis_log import RedisLog

        return RedisLog(url, timeout_s=timeout_s)
    if scheme in PULSAR_SCHEMES:
        from online.adapters.pulsar_log import PulsarLog

        return PulsarLog(url, timeout_s=timeout_s)
    if scheme == "memory":
        from online.adapters.memory_log import MemoryLog

        return MemoryLog()
    raise BadUrl(f"no event log speaks {scheme or url!r}: use pulsar://, pulsar+ssl://, redis://, rediss:// or unix://")


def open_state(url: str, *, timeout_s: float = 5.0) -> StateStore:
    """Return the state store at `redis://…`, `rediss://…`, `unix://…` or `memory:`."""
    scheme = urlsplit(url).scheme
    if scheme in _REDIS:
        from online.adapters.redis_state import RedisState

        return RedisState(url, timeout_s=timeout_s)
    if scheme == "memory":
        from online.adapters.memory_state import MemoryState

        return MemoryState()
    raise BadUrl(f"no state store speaks {scheme or url!r}: use redis://, rediss://, unix:// or memory:")


def open_warehouse(url: str) -> Warehouse:
    """Return the warehouse at `http://user:key@host:port/database` or `https://…`."""
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        from online.adapters.clickhouse import ClickHouse

        return ClickHouse(url)
    raise BadUrl(f"no warehouse speaks {scheme or url!r}: use http:// or https://")


def ensure_database(url: str) -> None:
    """Create the database that the URL of a warehouse names, unless it is there.

    Raises:
        Unavailable: the warehouse does not answer.
        WarehouseError: it is not there, and may not be created.
    """
    with closing(open_warehouse(url)) as warehouse:
        try:
            warehouse.query("SELECT 1")
            return
        except WarehouseError as error:
            if error.code != _UNKNOWN_DATABASE:
                raise
    parts = urlsplit(url)
    with closing(open_warehouse(urlunsplit(parts._replace(path="/default")))) as warehouse:
        warehouse.execute(f"CREATE DATABASE IF NOT EXISTS `{parts.path.strip('/')}`")
