"""A running system over HTTP, through one connection that is kept open."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from online.ports import Unavailable
from schemas.event import EventIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn

from .system import Answer

BATCH = 1000


class Rejected(Exception):
    """The API did not accept a request; the message says why."""


class HttpSystem:
    """The API at a URL."""

    def __init__(self, url: str, *, api_key: str = "", timeout_s: float = 30.0) -> None:
        """Read the URL; the connection is opened by the first request.

        Raises:
            Rejected: it is no URL of an API.
        """
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in kinds or not parts.hostname:
            msg = f"{url!r} is no URL of an API: use http://host:port"
            raise Rejected(msg)
        self._url, self._connection = url, kinds[parts.scheme](parts.hostname, port, timeout=timeout_s)
        self._base = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", **({"X-API-Key": api_key} if api_key else {})}

    def put_items(self, items: Sequence[ItemIn]) -> None:
        for at in range(0, len(items), BATCH):
            answer = self._post("/v1/items:batch", {"items": [_document(i) for i in items[at : at + BATCH]]})
            _require_all(answer, "items")

    def post(self, events: Sequence[EventIn]) -> None:
        for at in range(0, len(events), BATCH):
            answer = self._post("/v1/events", {"events": [_document(e) for e in events[at : at + BATCH]]})
            _require_all(answer, "events")

    def recommend(self, ask: RecommendIn) -> Answer:
        document = self._post("/v1/recommendations", _document(ask))
        return Answer(
            document["recommendation_id"],
            [item["item_id"] for item in document["items"]],
            document["state_as_of"]["position"],
            document,
        )

    def close(self) -> None:
        self._connection.close()

    def _post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return self.call("POST", path, document)[1]

    def call(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Return status and answer of a request.

        Raises:
            Unavailable: the API does not answer.
            Rejected: it refuses the request.
        """
        body = b"" if document is None else json.dumps(document).encode()
        try:
            status, body = self._exchanged(method, self._base + path, body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"{self._url} does not answer ({error}): is 'headrace up' running?") from error
        if status >= 400:
            raise Rejected(f"{path} answered {status}: {_detail(body)}")
        try:
            answer: dict[str, Any] = json.loads(body)
        except ValueError:
            raise Rejected(f"{self._url} answered {status} without JSON: is it the address of the API?") from None
        return status, answer

    def _exchanged(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body. A kept connection may have been closed by the server: once more on a new one."""
        was_open = self._connection.sock is not None
        try:
            return self._exchange(method, path, body)
        except ConnectionError:  # also what http.client raises when the server closes without an answer
            self._connection.close()
            if not was_open:
                raise
            return self._exchange(method, path, body)

    def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def _require_all(answer: Mapping[str, Any], rows: str) -> None:
    if answer["rejected"]:
        raise Rejected(f"{answer['rejected']} {rows} were not accepted: {answer['errors'][0]['message']}")


def _document(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_unset=True)


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return " ".join(body[:200].decode("utf-8", "replace").split())
