"""How the Pulsar log connects, and which of the client's errors mean 'not now' and which 'never'."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pulsar
from pulsar import Result

from online.ports import LogError, Unavailable

from .pulsar_url import PulsarUrl

_NEVER = {"IncompatibleSchema", "InvalidMessage", "InvalidTopicName", "MessageTooBig"}
"""Results, and exceptions of the same names, that a repetition does not change. A token that is refused may be replaced
or accepted later; until then nothing that waits for it is lost."""


def connect(url: PulsarUrl, timeout_s: float) -> pulsar.Client:
    """Return a client, which connects when it is first used; from then on its process must not fork."""
    return pulsar.Client(
        url.service,
        authentication=None if url.token is None else pulsar.AuthenticationToken(url.token),
        operation_timeout_seconds=math.ceil(timeout_s),
        connection_timeout_ms=int(timeout_s * 1000),
        tls_trust_certs_file_path=url.ca_file,
        tls_validate_hostname=True,
        stats_interval_in_seconds=0,
        # The library would write to stdout; what matters comes as results and exceptions anyway.
        logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull),
    )


@contextmanager
def answering() -> Iterator[None]:
    """Turn the client's exceptions into `Unavailable` and `LogError`."""
    try:
        yield
    except pulsar.PulsarException as error:
        raise _meaning(type(error).__name__, f"Pulsar: {error}") from error


def check(result: Result) -> None:
    """Raise what a result other than Ok means."""
    if result != Result.Ok:
        raise _meaning(result.name, f"Pulsar: {result.name}")


def _meaning(name: str, message: str) -> LogError | Unavailable:
    return LogError(message) if name in _NEVER else Unavailable(message)
