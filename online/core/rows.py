"""Rows of the warehouse: each topic's messages as rows of its table, by day. Pure, so that a repeat is identical."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import msgspec

from online.ports import Batch, Message
from schemas.control import decode_change
from schemas.event import decode_event
from schemas.fields import EPOCH_MAX_S
from schemas.item import decode_item
from schemas.shadow import decode_shadow
from schemas.slate import Slate, decode_slate
from schemas.user import decode_user

from .catalogue import ITEMS
from .control import CONTROL, entry_key
from .dead_letter import DEAD, VERDICTS, decode_dead_letter, decode_verdict
from .example import EXAMPLES, correction_of, decode_example
from .foldable import clamp
from .join import SLATES
from .partition import EVENTS, USERS
from .shadow import SHADOWS

Row = tuple[Any, ...]
EPOCH_DAY = date(1970, 1, 1)
MAX_POSITION = 2**16 - 1  # of the column `positions`


class Table(NamedTuple):
    """A table: its columns, and the row of one message. The column `day` partitions it."""

    name: str
    columns: Sequence[str]
    row: Callable[[Batch, Message], Row]


def _event(batch: Batch, message: Message) -> Row:
    where = (batch.topic, batch.partition, message.position)
    try:
        event = decode_event(message.payload)
        _check_times(event.received_at, event.timestamp)
        clamp(event)
    except (msgspec.MsgspecError, ValueError):  # dead-lettered by the state flow; the archive keeps every byte
        return (*where, EPOCH_DAY, 0, 0, "", "", "", "", [], [], None, "", "", message.payload)
    return (
        *where,
        _day(event.received_at),
        _micros(event.received_at),
        _micros(event.timestamp),
        event.event_id,
        event.event_type,
        event.user_key,
        event.session_id or "",
        [item.item_id for item in event.items],
        [min(max(item.position or 0, 0), MAX_POSITION) for item in event.items],
        event.value,
        event.surface or "",
        event.recommendation_id or "",
        message.payload,
    )


def _document(batch: Batch, message: Message) -> Row:
    where = (batch.topic, batch.partition, message.position)
    try:
        if batch.topic == ITEMS:
            item = decode_item(message.payload)
            key, updated_at = item.item_id, item.updated_at
        elif batch.topic == VERDICTS:
            verdict = decode_verdict(message.payload)
            key, updated_at = verdict.letter, verdict.at
        elif batch.topic == CONTROL:
            change = decode_change(message.payload)
            key, updated_at = entry_key(change.kind, change.id), change.at
        else:
            user = decode_user(message.payload)
            key, updated_at = user.user_id, user.updated_at
        _check_times(updated_at)
    except (msgspec.MsgspecError, ValueError):
        return (*where, EPOCH_DAY, 0, "", message.payload)
    return (*where, _day(updated_at), _micros(updated_at), key, message.payload)


def _slate(batch: Batch, message: Message) -> Row:
    slate = decode_slate(message.payload)
    _check_times(slate.served_at, slate.time)
    return (
        slate.recommendation_id,
        batch.partition,
        message.position,
        _day(slate.served_at),
        _micros(slate.served_at),
        _micros(slate.time),
        slate.user_key or "",
        slate.surface,
        slate.policy_id,
        slate.model_version,
        slate.rung,
        [slate.candidates[i] for i in slate.slots],
        slate.propensities,
        len(slate.candidates),
        slate.ope_valid,
        slate.ope_why,
        message.payload,
        slate.experiment_id,
        slate.variant,
        slate.held_out,
        slate.request.get("policy") is not None,
        slate.robot,
        slate.canary,
        slate.canary_arm,
        slate.canary_step,
        _is_degraded(slate),
        sum(slate.stages_us.values()),
    )


def _is_degraded(slate: Slate) -> bool:
    """Say whether a lower rung had to answer, or the slate is short of what was asked for."""
    return slate.ope_why not in ("", "client seed", "robot") or len(slate.slots) < slate.n


def _shadow(batch: Batch, message: Message) -> Row:
    shadow = decode_shadow(message.payload)
    slate = shadow.slate
    _check_times(slate.served_at)
    return (
        slate.recommendation_id,
        message.position,
        _day(slate.served_at),
        _micros(slate.served_at),
        slate.surface,
        shadow.shadow_of,
        slate.user_key or "",
        slate.policy_id,
        slate.policy_version,
        shadow.model,
        slate.model_version,
        shadow.served_policy_id,
        shadow.served_policy_version,
        shadow.served_model_version,
        [slate.candidates[i] for i in slate.slots],
        shadow.overlap,
        shadow.rank_biased_overlap,
        shadow.rank_shift,
        shadow.share,
        slate.stages_us,
        message.payload,
    )


def _outcome(batch: Batch, message: Message) -> Row:
    example = decode_example(message.payload)
    _check_times(example.time)
    return (
        batch.topic,
        batch.partition,
        message.position,
        example.recommendation_id,
        _day(example.time),
        _micros(example.time),
        example.surface,
        example.model_version,
        example.positions,
        example.clicked,
        message.payload,
        correction_of(example),
    )


def _dead_letter(batch: Batch, message: Message) -> Row:
    letter = decode_dead_letter(message.payload)
    return (
        letter.topic,
        letter.partition,
        letter.position,
        EPOCH_DAY,  # of a letter that is sent twice, one row is to remain
        letter.reason,
        letter.payload,
        round(min(max(letter.at, 0.0), EPOCH_MAX_S) * 1e3),
        letter.size or len(letter.payload),
    )


_EVENTS = Table(
    "events",
    (
        "topic", "partition", "position", "day", "received_at", "timestamp", "event_id", "event_type", "user_key",
        "session_id", "item_ids", "positions", "value", "surface", "recommendation_id", "payload",
    ),
    _event,
)  # fmt: skip
_DOCUMENTS = Table("documents", ("topic", "partition", "position", "day", "updated_at", "id", "payload"), _document)
_SLATES = Table(
    "slates",
    (
        "recommendation_id", "partition", "position", "day", "served_at", "time", "user_key", "surface", "policy_id",
        "model_version", "rung", "item_ids", "propensities", "candidates", "ope_valid", "ope_why", "payload",
        "experiment_id", "variant", "held_out", "own_policy", "robot", "canary", "canary_arm", "canary_step",
        "degraded", "ranked_us",
    ),
    _slate,
)  # fmt: skip
_SHADOWS = Table(
    "shadows",
    (
        "recommendation_id", "position", "day", "served_at", "surface", "shadow_of", "user_key", "policy_id",
        "policy_version", "model", "model_version", "served_policy_id", "served_policy_version",
        "served_model_version", "item_ids", "overlap", "rank_biased_overlap", "rank_shift", "share", "stages_us",
        "payload",
    ),
    _shadow,
)  # fmt: skip
_OUTCOMES = Table(
    "outcomes",
    (
        "topic", "partition", "position", "recommendation_id", "day", "time", "surface", "model_version", "slots",
        "clicked", "payload", "correction",
    ),
    _outcome,
)  # fmt: skip
_DEAD_LETTERS = Table(
    "dead_letters",
    ("topic", "partition", "position", "day", "reason", "payload", "found_at", "size"),
    _dead_letter,
)

TABLES: dict[str, Table] = {
    EVENTS: _EVENTS,
    ITEMS: _DOCUMENTS,
    USERS: _DOCUMENTS,
    SLATES: _SLATES,
    EXAMPLES: _OUTCOMES,
    DEAD: _DEAD_LETTERS,
    VERDICTS: _DOCUMENTS,
    CONTROL: _DOCUMENTS,
    SHADOWS: _SHADOWS,
}
"""Topic -> the table that records it."""


class Block(NamedTuple):
    """Rows of one table and day, inserted as one block under a token that names the range of the log."""

    table: Table
    rows: list[Row]
    token: str


def blocks(batch: Batch) -> list[Block]:
    """Return a batch as one block per day. The same range of the log always gives the same blocks and tokens."""
    table = TABLES[batch.topic]
    day_at = table.columns.index("day")
    by_day: dict[date, list[Row]] = {}
    for message in batch.messages:
        try:
            row = table.row(batch, message)
        except (msgspec.MsgspecError, ValueError, IndexError):
            continue  # not ours: only our own processes append slates, examples and dead letters
        by_day.setdefault(row[day_at], []).append(row)
    span = f"{batch.topic}:{batch.partition}:{batch.messages[0].position}:{batch.messages[-1].position}"
    return [Block(table, rows, f"{span}:{day}") for day, rows in sorted(by_day.items())]


def _check_times(*times: float) -> None:
    """Raise ValueError for times that no column holds: not every producer went through the API."""
    if not all(0.0 <= time <= EPOCH_MAX_S for time in times):
        msg = f"a time outside the years 1970 to 2100: {times}"
        raise ValueError(msg)


def _micros(time: float) -> int:
    return round(time * 1e6)


def _day(time: float) -> date:
    """Return the UTC day of a time.

    >>> _day(86400.0)
    datetime.date(1970, 1, 2)
    """
    return datetime.fromtimestamp(time, UTC).date()
