"""The API for Python programs: typed documents in and out, retries where they are harmless, errors that say why.

It needs httpx and the documents of `schemas`, and imports nothing of the server.

>>> from schemas.slate import RecommendIn
>>> with Client("http://127.0.0.1:1") as client:
...     client.recommend(RecommendIn(user_id="7", n=5))
Traceback (most recent call last):
headrace.client.Unreachable: http://127.0.0.1:1 does not answer ([Errno 111] Connection refused)
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from schemas.event import EventIn
from schemas.identity import MergeIn
from schemas.item import Item, ItemIn, decode_item
from schemas.preferences import PreferencesIn, PreferencesOut
from schemas.problem import ProblemOut, RowError
from schemas.slate import NextIn, RankIn, RankOut, RecommendIn, SlateOut
from schemas.user import UserIn

BATCH = 500  # rows in one request
TIMEOUT_S = 10.0  # of one attempt
PATIENCE_S = 60.0  # of all attempts at one request
MAX_WAIT_S = 60.0
AGAIN = frozenset({429, 502, 503, 504})  # statuses of an API, or what stands before it, that takes nothing now


class HeadraceError(Exception):
    """A request came to nothing.

    `unsent` are the rows of a batch that were not acknowledged, events with the ids that they were sent under: sent
    again, they count once. `retry_after_s` is how long the API asks to wait before that, 0 where it does not say.
    """

    unsent: Sequence[Any] = ()
    retry_after_s: float = 0.0


class Unreachable(HeadraceError):
    """The API does not answer."""


class Refused(HeadraceError):
    """The API answered with an error; `problem` is the document that says why."""

    def __init__(self, problem: ProblemOut, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail}")
        self.problem, self.retry_after_s = problem, retry_after_s


class Kept(BaseModel):
    """What became of rows; `duplicates` are events that were kept before. One that is refused holds up no other."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    errors: list[RowError] = []


class Client:
    """The API at a URL, over connections that are kept open; threads may share it.

    What can be repeated without harm is tried again for `patience_s` seconds, while the API does not answer or asks to
    wait; requests for slates are not, since a page waits for them.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str = "",
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.url, self._patience_s, self._sleep = url, patience_s, sleep
        headers = {"Content-Type": "application/json", **({"X-API-Key": api_key} if api_key else {})}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recommend(self, ask: RecommendIn) -> SlateOut:
        """Return a slate.

        Raises:
            Refused, Unreachable: at once, so that the page can show something else.
        """
        return SlateOut.model_validate_json(self._answer("POST", "/v1/recommendations", _body(ask)))

    def following(self, slate: SlateOut, n: int | None = None) -> SlateOut:
        """Return the slate that follows one, without repeats.

        Raises:
            Refused, Unreachable: as `recommend`; of what has nothing behind it 409.
        """
        given = {"cursor": slate.next_cursor, "n": n}
        ask = NextIn.model_validate({name: value for name, value in given.items() if value is not None})
        path = f"/v1/recommendations/{slate.recommendation_id}/next"
        return SlateOut.model_validate_json(self._answer("POST", path, _body(ask)))

    def rank(self, ask: RankIn) -> RankOut:
        """Return candidates of one's own in the order that they are to be shown in.

        Raises:
            Refused, Unreachable: as `recommend`.
        """
        return RankOut.model_validate_json(self._answer("POST", "/v1/rank", _body(ask)))

    def similar(self, item_id: str, n: int = 10) -> SlateOut:
        """Return items like an item.

        Raises:
            Refused, Unreachable: as `recommend`.
        """
        return SlateOut.model_validate_json(self._answer("GET", f"/v1/items/{_path(item_id)}/similar?n={n}"))

    def send(self, events: Sequence[EventIn]) -> Kept:
        """Keep events, in batches and in their order; those without id and time get both before the first attempt.

        Raises:
            Refused, Unreachable: patience has ended, or the API refuses for good; `unsent` holds what is left.
        """
        return self._kept("/v1/events", "events", [_identified(event) for event in events])

    def put_items(self, items: Sequence[ItemIn]) -> Kept:
        """Create or replace items, each with its `item_id`.

        Raises:
            Refused, Unreachable: as `send`.
        """
        return self._kept("/v1/items:batch", "items", items)

    def item(self, item_id: str) -> Item:
        """Return an item.

        Raises:
            Refused, Unreachable: there is none, or no answer.
        """
        return decode_item(self._patient("GET", f"/v1/items/{_path(item_id)}"))

    def change_item(self, item_id: str, changes: ItemIn) -> Item:
        """Change the fields of an item that are given, and return it.

        Raises:
            Refused, Unreachable: as `item`.
        """
        return decode_item(self._patient("PATCH", f"/v1/items/{_path(item_id)}", _body(changes)))

    def delete_item(self, item_id: str) -> None:
        """Show an item to nobody any more.

        Raises:
            Refused, Unreachable: as `item`.
        """
        self._patient("DELETE", f"/v1/items/{_path(item_id)}")

    def put_user(self, user_id: str, user: UserIn) -> None:
        """Create or replace what is told about a user.

        Raises:
            Refused, Unreachable: it is not kept.
        """
        self._patient("PUT", f"/v1/users/{_path(user_id)}", _body(user))

    def user(self, user_id: str) -> dict[str, Any]:
        """Return what the stream knows of a user, as `GET /v1/users/{id}` describes it.

        Raises:
            Refused, Unreachable: nothing is known, or no answer.
        """
        document: dict[str, Any] = json.loads(self._patient("GET", f"/v1/users/{_path(user_id)}"))
        return document

    def preferences(self, user_id: str) -> PreferencesOut:
        """Return what a user wants, as the record reflects it.

        Raises:
            Refused, Unreachable: no answer.
        """
        return PreferencesOut.model_validate_json(self._patient("GET", f"/v1/users/{_path(user_id)}/preferences"))

    def put_preferences(self, user_id: str, wanted: PreferencesIn) -> bool:
        """Say what a user wants, all of it; return whether the next slate obeys, which else a later one will.

        Raises:
            Refused, Unreachable: it is not kept.
        """
        answer = self._patient("PUT", f"/v1/users/{_path(user_id)}/preferences", _body(wanted))
        return json.loads(answer).get("reflected", True) is True

    def merge(self, user_id: str, visitor_id: str) -> None:
        """Say that a visitor is this user: what it did counts for the user, now and later.

        Raises:
            Refused, Unreachable: it is not kept.
        """
        self._patient("POST", f"/v1/users/{_path(user_id)}:merge", _body(MergeIn(visitor_id=visitor_id)))

    def _kept(self, path: str, name: str, rows: Sequence[BaseModel]) -> Kept:
        total = Kept()
        for at in range(0, len(rows), BATCH):
            body = b'{"%s":[%s]}' % (name.encode(), b",".join(map(_body, rows[at : at + BATCH])))
            try:
                kept = Kept.model_validate_json(self._patient("POST", path, body))
            except HeadraceError as error:
                error.unsent = rows[at:]
                raise
            total = Kept(
                accepted=total.accepted + kept.accepted,
                duplicates=total.duplicates + kept.duplicates,
                rejected=total.rejected + kept.rejected,
                errors=[*total.errors, *(one.model_copy(update={"index": at + one.index}) for one in kept.errors)],
            )
        return total

    def _patient(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the body of an answer, trying again while there is patience."""
        until, failures = time.monotonic() + self._patience_s, 0
        while True:
            try:
                return self._answer(method, path, body)
            except HeadraceError as error:
                wait = wait_s(error.retry_after_s, failures, random.random())
                is_final = isinstance(error, Refused) and error.problem.status not in AGAIN
                if is_final or time.monotonic() + wait > until:
                    raise
            self._sleep(wait)
            failures += 1

    def _answer(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the body of an answer.

        Raises:
            Refused, Unreachable: there is none.
        """
        try:
            response = self._http.request(method, path, content=body or None)
        except httpx.TransportError as error:
            raise Unreachable(f"{self.url} does not answer ({error})") from error
        if response.status_code == 204 or (response.is_success and _is_json(response)):
            return response.content
        after = response.headers.get("Retry-After", "")
        raise Refused(_problem(response), float(after) if after.isdigit() else 0.0)


def wait_s(asked_s: float, failures: int, chance: float) -> float:
    """Return the seconds to wait after so many failures before: what the API asks for, else twice as long each time.

    `chance`, between 0 and 1, is how much of the same length is added, so that clients do not come back together.

    >>> wait_s(0.0, 0, 0.0), wait_s(0.0, 3, 0.5), wait_s(5.0, 0, 0.5), wait_s(0.0, 99, 0.0)
    (0.5, 6.0, 7.5, 60.0)
    """
    return max(asked_s, min(MAX_WAIT_S, 2.0 ** min(failures, 9) / 2)) * (1.0 + chance)


def _identified(event: EventIn) -> EventIn:
    timestamp = time.time() if event.timestamp is None else event.timestamp
    return event.model_copy(update={"event_id": event.event_id or uuid.uuid4().hex, "timestamp": timestamp})


def _body(document: BaseModel) -> bytes:
    return document.model_dump_json(exclude_unset=True).encode()


def _path(id_: str) -> str:
    return quote(id_, safe="")


def _is_json(response: httpx.Response) -> bool:
    return str(response.headers.get("Content-Type", "")).startswith("application/json")


def _problem(response: httpx.Response) -> ProblemOut:
    try:
        return ProblemOut.model_validate_json(response.content)
    except ValidationError:
        detail = "the answer is no problem document: is this the address of the API?"
        status, title = response.status_code, response.reason_phrase
        return ProblemOut(type="about:blank", title=title, status=status, detail=detail, code="unknown")
