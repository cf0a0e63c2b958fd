"""A client of the API that repeats what was not acknowledged, under the same ids, until it is."""

from __future__ import annotations

import http.client
from threading import Event
from typing import Any

import msgspec

from replay.http_system import Rejected

TIMEOUT_S = 5.0
RETRY_S = 0.05


class Stopped(Exception):
    """The client was told to stop before its request was acknowledged."""


class Client:
    """One connection at a time. Not to be shared between threads."""

    def __init__(self, host: str, port: int, stop: Event) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._stop = stop

    def kept(self, method: str, path: str, document: object) -> dict[str, Any]:
        """Return the answer to a request, sent again until there is one that accepts all of it.

        Raises:
            Stopped: before that.
            Rejected: the API refuses the request for good.
        """
        body = msgspec.json.encode(document)
        while not self._stop.is_set():
            answer = self._answer(method, path, body)
            if answer is not None:
                return answer
            self._stop.wait(RETRY_S)
        raise Stopped

    def _answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | None:
        """Return the answer; None when there is none, or the system takes nothing now."""
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            status, payload = response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        if status in (429, 503):
            return None
        answer: dict[str, Any] = msgspec.json.decode(payload)
        if status >= 400 or answer.get("rejected"):
            raise Rejected(f"{method} {path} was answered with {status}: {payload[:300]!r}")
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
