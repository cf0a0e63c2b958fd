"""One message of the events topic: whose record it belongs to, and what it says."""

from __future__ import annotations

from typing import NamedTuple

from online.ports import Message
from schemas.erasure import ERASED, Erased, decode_erased, is_erasure
from schemas.event import Event, decode_event, user_key
from schemas.identity import IDENTITY_TYPES, Forwarded, Merge, decode_identity
from schemas.move import MOVE_TYPES, Arrived, decode_move, is_move
from schemas.preferences import PREFERENCES, Preferences, decode_preferences
from schemas.user import User, decode_user

from .foldable import Unfoldable, check_event, check_preferences, check_record, check_times, check_user, clamp
from .record import RECORD_VERSION, UserRecord, decode_record


class Absorption(NamedTuple):
    """A visitor's record to be taken over."""

    merge_id: str
    received_at: float
    visitor: UserRecord


class Arrival(NamedTuple):
    """A record that comes from another partition."""

    record: UserRecord


class Departure(NamedTuple):
    """The record has gone to another partition."""


Entry = tuple[Message, str, Event | Merge | Absorption | Arrival | Departure | Preferences | Erased]
"""A message that can be folded, the key of its record, and what it says."""

Document = tuple[str, User | Departure | Erased]
"""What a message of the users topic says, behind the key of its record."""


def read_entry(message: Message) -> Entry:
    """Return what a message says. A forwarded event is the event itself, with the key of the user it counts for.

    Raises:
        msgspec.MsgspecError: it is no event.
        Unfoldable: the step cannot fold it, whoever wrote it to the log.
    """
    event = decode_event(message.payload)
    if event.event_type in IDENTITY_TYPES:  # these have all fields that every event has
        return _read_identity(message)
    if event.event_type in MOVE_TYPES:
        return _read_move(message, event.user_key)
    if event.event_type == ERASED:
        return message, *_read_erased(message)
    said = _read_said(message.payload, event)
    return message, said.user_key, said


def read_document(message: Message) -> Document:
    """Return what a message of the users topic says.

    Raises:
        msgspec.MsgspecError: it is no user document.
        Unfoldable: no record could hold it.
    """
    if is_move(message.payload):
        departed = decode_move(message.payload)
        return user_key(departed.user_id, departed.visitor_id), Departure()
    if is_erasure(message.payload):
        return _read_erased(message)
    user = decode_user(message.payload)
    check_user(user)
    return user_key(user.user_id, None), user


def _read_erased(message: Message) -> tuple[str, Erased]:
    erased = decode_erased(message.payload)
    check_times(erased.timestamp, erased.received_at)
    if not erased.user_id and not erased.visitor_id:
        raise Unfoldable("an erasure names a user or a visitor")
    return erased.user_key, erased


def _read_said(payload: bytes, event: Event) -> Event | Preferences:
    """Return what a user or visitor has done, or said of itself."""
    if event.event_type == PREFERENCES:
        preferences = decode_preferences(payload)
        check_preferences(preferences)
        return preferences
    check_event(event)
    clamp(event)
    return event


def _read_identity(message: Message) -> Entry:
    identity = decode_identity(message.payload)
    if isinstance(identity, Forwarded):
        event = decode_event(bytes(identity.event))
        return message, identity.target_key, _read_said(bytes(identity.event), event)
    check_times(identity.timestamp, identity.received_at)
    if isinstance(identity, Merge):
        return message, identity.visitor_key, identity
    visitor = _read_record(identity.record)
    return message, identity.target_key, Absorption(identity.event_id, identity.received_at, visitor)


def _read_move(message: Message, key: str) -> Entry:
    move = decode_move(message.payload)
    check_times(move.timestamp, move.received_at)
    return message, key, Arrival(_read_record(move.record)) if isinstance(move, Arrived) else Departure()


def _read_record(payload: bytes) -> UserRecord:
    record = decode_record(payload)
    if record.version > RECORD_VERSION:  # what this program does not know of it would be lost
        raise Unfoldable(f"a record of version {record.version}: redrive it once all flows know that version")
    check_record(record)
    return record
