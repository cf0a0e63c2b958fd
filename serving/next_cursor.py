"""Cursors: how a slate is gone on with. A cursor holds what was asked and what was shown, and so needs no memory.

Whoever changes one asks for something else, as POST /v1/recommendations would let them: it is read as such a request,
by the same checks, and opens nothing that the key does not.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Any

import msgspec
from pydantic import ValidationError

from online.core.controls import CONSENT_WITHDRAWN
from online.pipeline import SlateRequest
from schemas.fields import guarded
from schemas.slate import MAX_CURSOR, RecommendIn, Slate

from .problem import Problem, field_errors, invalid

MAX_EXCLUDED = 1000  # as `RecommendIn` has it


class _Cursor(msgspec.Struct, array_like=True):
    recommendation_id: str
    ask: dict[str, Any]  # as it was sent
    shown: list[str]


_decode = guarded(msgspec.json.Decoder(_Cursor).decode)


def next_cursor(request: SlateRequest, slate: Slate) -> str | None:
    """Return the cursor of a slate; None where nothing is left to go on with, or it would be too long to carry."""
    if request.listing or request.listed is not None or len(slate.slots) < slate.n:
        return None
    shown = [slate.candidates[i] for i in slate.slots]
    if len(request.exclude_item_ids) + len(shown) > MAX_EXCLUDED:
        return None
    encoded = urlsafe_b64encode(msgspec.json.encode(_Cursor(slate.recommendation_id, request.as_asked, shown)))
    return encoded.decode() if len(encoded) <= MAX_CURSOR else None


def continued(cursor: str, recommendation_id: str, n: int | None) -> RecommendIn:
    """Return what a cursor asks for next.

    Raises:
        Problem: 422, it is none, or of another slate; 409, there is no more to go on with.
    """
    try:
        read = _decode(urlsafe_b64decode(cursor.encode("ascii")))
    except (msgspec.MsgspecError, Error, ValueError):
        raise _bad_cursor("is no cursor: send the next_cursor of the slate, as it is") from None
    if read.recommendation_id != recommendation_id:
        raise _bad_cursor("belongs to another slate than the path")
    return _following(read.ask, read.shown, n)


def following(slate: Slate, n: int | None) -> RecommendIn:
    """Return what comes after a slate that was looked up.

    Raises:
        Problem: 409, it cannot be gone on with.
    """
    if "listing" in slate.request:
        raise Problem(409, "not_continued", "only recommendations and similar items can be gone on with")
    if CONSENT_WITHDRAWN in slate.controls:
        raise Problem(409, "cursor_needed", "the log does not say whose slate this was: send its next_cursor")
    ask = dict(slate.request)
    if given := ask.pop("session_items_given", 0):
        ask["session_items"] = slate.session_items[:given]
    return _following(ask, [slate.candidates[i] for i in slate.slots], n)


def _following(ask: dict[str, Any], shown: list[str], n: int | None) -> RecommendIn:
    before = ask.get("exclude_item_ids", [])
    excluded = [*before, *shown] if isinstance(before, list) else shown
    if len(excluded) > MAX_EXCLUDED:
        raise Problem(409, "too_far", f"after {MAX_EXCLUDED} items there is no going on: ask anew")
    wanted = {**ask, "exclude_item_ids": excluded, **({} if n is None else {"n": n})}
    try:
        return RecommendIn.model_validate_json(msgspec.json.encode(wanted))
    except ValidationError as error:
        raise _bad_cursor(f"asks for what cannot be: {field_errors(error, RecommendIn)[0]['message']}") from None


def _bad_cursor(message: str) -> Problem:
    return invalid([{"code": "cursor", "field": "cursor", "message": message}])
