"""How both Redis adapters connect: no hidden retries, tight deadlines, one error for 'does not answer'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from online.ports import Unavailable

KEY_PREFIX = "hr"
NAMESPACE = "namespace"  # the option of a URL that keeps apart what shares a server


def key_prefix(url: str) -> str:
    """Return what all keys begin with.

    >>> key_prefix("redis://host"), key_prefix("redis://host/0?namespace=acme")
    ('hr', 'hr@acme')
    """
    named = dict(parse_qsl(url.partition("?")[2])).get(NAMESPACE)
    return f"{KEY_PREFIX}@{named}" if named else KEY_PREFIX


def connect(url: str, timeout_s: float) -> Redis:
    """Return a client that gives up after `timeout_s` and never retries by itself."""
    place, _, options = url.partition("?")
    known = "&".join(option for option in options.split("&") if not option.startswith(f"{NAMESPACE}="))
    return Redis.from_url(
        f"{place}?{known}" if known else place,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=0,
        protocol=2,
    )


_CANNOT_NOW = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError, MasterDownError)


@contextmanager
def answering() -> Iterator[None]:
    """Turn 'the server is away, loading, full or cannot write' into `Unavailable`."""
    try:
        yield
    except _CANNOT_NOW as error:
        raise Unavailable(str(error)) from error
    except ResponseError as error:
        if "MISCONF " in str(error):  # of no class of its own; a pipeline puts the command in front of it
            raise Unavailable(str(error)) from error
        raise
