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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = f"{url!r} is no URL of an API: use http://host:port"
            raise Rejected(msg)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._url, self._connection = url, kind(parts.hostname, parts.port, timeout=timeout_s)
        self._headers = {"Content-Type": "application/json", **({"X-API-Key": api_key} if api_key else {})}

    def put_items(self, items: Sequence[ItemIn]) -> None:
        for at in range(0, len(items), BATCH):
            self._post("/v1/items:batch", {"items": [_document(i) for i in items[at : at + BATCH]]})

    def post(self, events: Sequence[EventIn]) -> None:
        for at in range(0, len(events), BATCH):
            answer = self._post("/v1/events", {"events": [_document(e) for e in events[at : at + BATCH]]})
            if answer["rejected"]:
                raise Rejected(f"{answer['rejected']} events: {answer['errors'][0]['message']}")

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
        try:
            self._connection.request("POST", path, json.dumps(document).encode(), self._headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"{self._url} does not answer ({error}): is 'headrace up' running?") from error
        if response.status >= 400:
            raise Rejected(f"{path} answered {response.status}: {_detail(body)}")
        answer: dict[str, Any] = json.loads(body)
        return answer


def _document(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_unset=True)


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
