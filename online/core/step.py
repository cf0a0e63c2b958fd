"""The step of the user record: one event folded in. Pure: it sees the event and the record, nothing else."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from struct import Struct
from zlib import crc32

from schemas.event import WEIGHTS, Event
from schemas.user import User

from .decay import Decay, Weights
from .expiry import EXPIRY_S
from .record import DEDUP_BYTES, TYPE_CODES, Touch, UserRecord
from .robots import notice
from .session import LATENESS_S, digest64, hash64, join_by_time

Context = dict[str, str | bool | int | float | None]

_remembered = Struct("<8sI").pack
_received_at = Struct("<I").unpack_from
_CART = {"add_to_cart": 1, "remove_from_cart": -1}
_HIDES = frozenset({"hide", "not_interested"})
DISORDER_S = 86_400  # how far `received_at` may be out of order on the log: what a spool held back comes late
RATING_NEUTRAL = 3.0  # the middle of a five-star scale says nothing either way


@dataclass(frozen=True, slots=True)
class Caps:
    """Upper bounds of a record's tables; beyond them the weakest or oldest entries go."""

    item: int = 64
    withdrawn: int = 16
    category: int = 32
    brand: int = 32
    price_tier: int = 16
    recent: int = 64
    seen: int = 256
    carted: int = 32
    purchased: int = 256
    hidden: int = 256
    context: int = 16
    dedup: int = 4096


@dataclass(frozen=True, slots=True)
class FoldConfig:
    """Parameters of the step: event weights, decay, caps, the dedup horizon and expiry (seconds of `received_at`).

    `influence` bounds what one user adds to one item's popularity at every half-life, in event weights: by default
    two purchases with all that leads to them, or twenty clicks.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    decay: Decay = field(default_factory=Decay)
    caps: Caps = field(default_factory=Caps)
    influence: float = 20.0
    dedup_horizon_s: int = 7 * 86_400
    expiry_s: int = EXPIRY_S


def event_weight(event: Event, weights: Mapping[str, float]) -> float:
    """Return the event's value for affinities; a rating counts by its distance from the neutral 3.

    >>> event_weight(Event(event_id="e", event_type="rating", timestamp=0, received_at=0, value=5.0), WEIGHTS)
    2.0
    """
    weight = weights.get(event.event_type, 0.0)
    if event.event_type == "rating" and event.value is not None:
        return weight * max(-3.0, min(3.0, event.value - RATING_NEUTRAL))
    return weight


def is_duplicate(record: UserRecord, event: Event, config: FoldConfig) -> bool:
    """Say whether the event id was folded within the dedup horizon; remember it if not."""
    received = int(event.received_at)
    dedup, oldest = record.dedup, received - config.dedup_horizon_s
    key = digest64(event.event_id)
    at = dedup.find(key)
    while at >= 0:
        if at % DEDUP_BYTES == 0 and _received_at(dedup, at + len(key))[0] >= oldest:
            return True
        at = dedup.find(key, at + 1)
    dedup += _remembered(key, received)
    full = config.caps.dedup * DEDUP_BYTES
    while len(dedup) > full or _received_at(dedup, len(key))[0] < oldest - DISORDER_S:  # what was just added ends it
        del dedup[:DEDUP_BYTES]
    return False


def fold_event(
    record: UserRecord, event: Event, factors: Weights, landmark: float, config: FoldConfig
) -> tuple[int, int] | None:
    """Fold one event that is no duplicate into the record, in place.

    Args:
        record: the user's record.
        event: the event.
        factors: `config.decay.at(event.timestamp, landmark)`, shared with the item aggregates.
        landmark: `config.decay.landmark(event.timestamp)`.
        config: parameters of the fold.

    Returns:
        The key, in the session index, of the session that the event's items joined, and the key which that session has
        had until now, 0 when it keeps its own; None when they joined none.
    """
    time = event.timestamp
    if record.landmark != landmark:
        if landmark > record.landmark:
            rebase_record(record, landmark, config.decay)
        else:
            factors = config.decay.at(time, record.landmark)
    code = TYPE_CODES[event.event_type]
    record.counts[code] = record.counts.get(code, 0) + 1
    weight = event_weight(event, config.weights)
    if weight != 0.0:
        _fold_affinities(record, event, [weight * f for f in factors], config.caps)
    session = _fold_touches(record, event, code, config.caps) if weight > 0.0 else None
    _fold_marks(record, event, weight, config.caps)
    notice(record, event)
    if event.clamped_s:
        record.clamped += 1
    if time >= record.last_time:
        record.last_time = time
    if event.context and time >= record.context_time:
        record.context = _capped(event.context, config.caps.context)
        record.context_time = time
    return session


def rebase_record(record: UserRecord, landmark: float, decay: Decay) -> None:
    """Move the landmark of a record's weights forward, in place."""
    for table in (*record.affinities, record.withdrawn):
        decay.rebase(table.values(), record.landmark, landmark)
    record.landmark = landmark


def _capped(context: Context, cap: int) -> Context:
    return context if len(context) <= cap else dict(islice(context.items(), cap))


def _fold_affinities(record: UserRecord, event: Event, value: Weights, caps: Caps) -> None:
    items, categories, brands, tiers = record.affinities
    for item in event.items:
        _add(items, item.item_id, value, caps.item)
        for category in item.categories:
            _add(categories, category, value, caps.category)
        if item.brand is not None:
            _add(brands, item.brand, value, caps.brand)
        if item.price_tier is not None:
            _add(tiers, item.price_tier, value, caps.price_tier)
    if value[-1] < 0.0:
        for item in event.items:
            _add(record.withdrawn, item.item_id, [-v for v in value], caps.withdrawn)


def _add(table: dict[str, Weights], key: str, value: Weights, cap: int) -> None:
    weights = table.get(key)
    if weights is None:
        table[key] = [*value]
        if len(table) > cap:
            keep_strongest(table, cap)
        return
    for i, v in enumerate(value):
        weights[i] += v


def keep_strongest(table: dict[str, Weights], cap: int) -> None:
    """Drop the weakest quarter, so that a full table is not sorted again at every new key."""
    strengths = sorted([(max(map(abs, weights)), key) for key, weights in table.items()])
    for _, key in strengths[: len(table) - (cap - cap // 4)]:
        del table[key]


def _fold_touches(record: UserRecord, event: Event, code: int, caps: Caps) -> tuple[int, int] | None:
    recent, time = record.recent, event.timestamp
    if not event.items:
        return None
    if recent and time < recent[-1].time - LATENESS_S:
        record.dropped_late += len(event.items)
        return None
    session = crc32(event.session_id.encode()) if event.session_id else 0
    key, was = _join_session(record, event, session)
    for item in event.items:
        touch = Touch(time, item.item_id, code, session)
        if not recent or recent[-1] <= touch:
            recent.append(touch)
        else:
            insort(recent, touch)
    if len(recent) > caps.recent:
        del recent[: len(recent) - caps.recent]
    if recent[-1].session == session:
        record.session_key = key if session else record.sessions[-1].key
    return key, was


def _join_session(record: UserRecord, event: Event, session: int) -> tuple[int, int]:
    """Return the key of the session that the event's touches fall into, and the one it has had until now or 0.

    The touches of one session id (`session`: its CRC-32, 0 for none) are one session whatever their times.
    """
    last = record.recent[-1] if record.recent else None
    if not session:
        return join_by_time(record.sessions, event, last.time if last is not None else 0.0)
    if last is not None and last.session == session:
        return record.session_key, 0
    return hash64(f"{event.user_key} {session}"), 0


def _fold_marks(record: UserRecord, event: Event, weight: float, caps: Caps) -> None:
    kind, time = event.event_type, int(event.timestamp)
    if kind in _CART:
        for item in event.items:
            if time >= abs(record.carted.get(item.item_id, 0)):
                record.carted[item.item_id] = _CART[kind] * time
        keep_latest(record.carted, caps.carted)
    elif kind == "purchase":
        _mark(record.purchased, event, time, caps.purchased)
    elif kind in _HIDES:
        _mark(record.hidden, event, time, caps.hidden)
    if weight > 0.0:
        _mark(record.seen, event, time, caps.seen)


def _mark(table: dict[str, int], event: Event, time: int, cap: int) -> None:
    for item in event.items:
        if time >= table.get(item.item_id, 0):
            table[item.item_id] = time
    keep_latest(table, cap)


def keep_latest(table: dict[str, int], cap: int) -> None:
    """Drop the oldest marks of a table that exceeds its cap, an eighth of the cap more than needed."""
    if len(table) <= cap:
        return
    oldest = sorted(table, key=lambda k: (abs(table[k]), k))[: len(table) - (cap - cap // 8)]
    for key in oldest:
        del table[key]


def fold_user(record: UserRecord, user: User) -> None:
    """Fold a user document into the record: the latest one's labels and context stand."""
    if user.updated_at < record.labels_time:
        return
    record.labels, record.labels_time, record.labels_context = user.labels, user.updated_at, user.context
    if user.context and user.updated_at >= record.context_time:
        record.context, record.context_time = user.context, user.updated_at
