"""What a dead letter is redriven as: its message as it was, if that can be folded now, or checked like at the edge."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import ValidationError

from schemas.erasure import ERASED, decode_erased
from schemas.event import EventIn, accept, decode_event, encode_event
from schemas.fields import EPOCH_MAX_S, guarded, safe_path
from schemas.identity import IDENTITY_TYPES, decode_identity
from schemas.item import ItemIn, accept_item, decode_item, encode_item
from schemas.preferences import PREFERENCES, decode_preferences
from schemas.user import UserIn, accept_user, decode_user, encode_user

from .catalogue import ITEMS, FacetsOf, stamp
from .foldable import MAX_ID, Unfoldable, check_event, check_preferences, check_user
from .letters import Letter
from .partition import EVENTS, USERS

OURS = frozenset({"slates", "examples", "updates", "dead", "verdicts", "control"})
STAMPED = frozenset({"received_at", "clamped_s", "updated_at", "held_out"})  # by ingest; the original's stand
STAMPED_ITEM = frozenset({"categories", "brand", "price_tier"})
_decode = guarded(msgspec.json.decode)


class NotRedrivable(Exception):
    """A letter cannot be redriven like this; the message says why."""


def redriven(
    key: str, letter: Letter, original: bytes, edited: bytes | None, facets_of: FacetsOf, holdout: float = 0.0
) -> tuple[str, bytes]:
    """Return the topic and payload that a letter is redriven as.

    An event keeps its `event_id` and `received_at`, so that it counts once however often it is sent. Where it has none,
    they are the letter's id and the time it was found.

    Args:
        key: the letter's id.
        letter: the letter.
        original: its bytes.
        edited: a JSON document in their place, as a client would send it or as it stood on the log.
        facets_of: what the catalogue says of an item.
        holdout: share of units that are held out.

    Raises:
        NotRedrivable: it still cannot be folded, or its topic takes nothing back.
    """
    if letter.topic in OURS:
        raise NotRedrivable(f"our own processes write the topic {letter.topic}: discard it, a rebuild makes it anew")
    if edited is None and letter.size > letter.kept:
        raise NotRedrivable(
            f"of its {letter.size} bytes only {letter.kept} are kept here; send it whole as an edited one"
        )
    topic = letter.topic if letter.topic in (USERS, ITEMS) else EVENTS
    if edited is None and letter.topic == topic and is_foldable(topic, original):
        return topic, original
    document = _document(original if edited is None else edited)
    known = _known(original)
    try:
        if topic == EVENTS:
            return topic, _event(key, document, known, _time(known, "received_at", letter), facets_of, holdout)
        return topic, _description(topic, document, known, _time(known, "updated_at", letter))
    except ValidationError as error:
        raise NotRedrivable(told(error)) from None
    except Unfoldable as error:
        raise NotRedrivable(str(error)) from None


def is_foldable(topic: str, payload: bytes) -> bool:
    """Say whether a fold would take the message as it is.

    >>> is_foldable("users", b'{"user_id": "42", "updated_at": 0}'), is_foldable("events", b"?")
    (True, False)
    """
    try:
        if topic == ITEMS:
            decode_item(payload)
        elif topic == USERS:
            check_user(decode_user(payload))
        else:
            event = decode_event(payload)
            if event.event_type in IDENTITY_TYPES:
                decode_identity(payload)
            elif event.event_type == ERASED:
                decode_erased(payload)
            elif event.event_type == PREFERENCES:
                check_preferences(decode_preferences(payload))
            else:
                check_event(event)
    except (msgspec.MsgspecError, Unfoldable):
        return False
    return True


def _event(
    key: str,
    document: dict[str, Any],
    known: dict[str, Any],
    received_at: float,
    facets_of: FacetsOf,
    holdout: float,
) -> bytes:
    items = document.get("items")
    if isinstance(items, list):
        document["items"] = [_without(item, STAMPED_ITEM) if isinstance(item, dict) else item for item in items]
    given = EventIn.model_validate(document)
    event = accept(given, event_id=key[-MAX_ID:], received_at=received_at)
    if _is_id(known.get("event_id")):
        event.event_id = known["event_id"]
    stamp(event, facets_of, holdout)
    check_event(event)
    return encode_event(event)


def _description(topic: str, document: dict[str, Any], known: dict[str, Any], updated_at: float) -> bytes:
    name = "user_id" if topic == USERS else "item_id"
    key = document.get(name, known.get(name))
    if not isinstance(key, str) or not _is_id(key):
        raise NotRedrivable(f"{name}: give it as a text of 1 to {MAX_ID} characters")
    if topic == USERS:
        return encode_user(accept_user(UserIn.model_validate(document), user_id=key, now=updated_at))
    return encode_item(accept_item(ItemIn.model_validate(document), item_id=key, now=updated_at))


def _document(payload: bytes) -> dict[str, Any]:
    try:
        document = _decode(payload)
    except msgspec.MsgspecError as error:
        raise NotRedrivable(str(error)) from None
    if not isinstance(document, dict):
        raise NotRedrivable("it is no JSON object")
    return _without(document, STAMPED)


def _known(original: bytes) -> dict[str, Any]:
    """Return what can be read of the original; nothing when it is no JSON object."""
    try:
        document = _decode(original)
    except msgspec.MsgspecError:
        return {}
    return document if isinstance(document, dict) else {}


def _time(known: dict[str, Any], field: str, letter: Letter) -> float:
    value = known.get(field)
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value <= EPOCH_MAX_S
    return float(value) if is_time and value is not None else letter.at


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID


def _without(document: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def told(error: ValidationError) -> str:
    """Return in one line what is wrong first with a document of someone else's; nothing of it is repeated but names."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = safe_path(first["loc"])
    message = "unknown field" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
