"""The step of the user record: one event folded in. Pure: it sees the event and the record, nothing else."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from struct import Struct
from zlib import crc32

from schemas.event import WEIGHTS, Event, EventItem
from schemas.user import User

from .decay import Decay, Weights
from .expiry import EXPIRY_S, ITEM_EXPIRY_S
from .record import DEDUP_BYTES, ID_BYTES, TYPE_CODES, Touch, UserRecord
from .robots import notice
from .session import LATENESS_S, digest64, hash64, join_by_time
from .shown import add_showings

Context = dict[str, str | bool | int | float | None]

_remembered = Struct(f"<{ID_BYTES}sI").pack
_received_at = Struct("<I").unpack_from
_CART = {"add_to_cart": 1, "remove_from_cart": -1}
HIDES = frozenset({"hide", "not_interested"})
DISORDER_S = 86_400  # how far `received_at` may be out of order on the log: what a spool held back comes late
RATING_MOST = 3.0  # times the weight of a rating
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
    shown: int = 64
    context: int = 16
    dedup: int = 4096


@dataclass(frozen=True)
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
    item_expiry_s: int = ITEM_EXPIRY_S

    @cached_property
    def heaviest(self) -> float:
        """The most that an event can weigh."""
        return max(*self.weights.values(), RATING_MOST * self.weights.get("rating", 0.0))


def event_weight(event: Event, weights: Mapping[str, float]) -> float:
    """Return the event's value for affinities; a rating counts by its distance from the neutral 3.

    >>> event_weight(Event(event_id="e", event_type="rating", timestamp=0, received_at=0, value=5.0), WEIGHTS)
    2.0
    """
    weight = weights.get(event.event_type, 0.0)
    if event.event_type == "rating" and event.value is not None:
        return weight * max(-RATING_MOST, min(RATING_MOST, event.value - RATING_NEUTRAL))
    return weight


def is_duplicate(record: UserRecord, event: Event, config: FoldConfig) -> bool:
    """Say whether the event id was folded within the dedup horizon; remember it if not."""
    received = int(event.received_at)
    dedup, oldest = record.dedup, received - config.dedup_horizon_s
    key = digest64(event.event_id)[:ID_BYTES]
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
    session = None
    if weight > 0.0:
        session = _fold_touches(record, event, weight, config)
    elif weight < 0.0:
        _fold_refusal(record, event, [weight * f for f in factors], config.caps)
    _fold_marks(record, event, config.caps)
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


def sum_up(record: UserRecord, config: FoldConfig) -> UserRecord:
    """Add to the tables what the touches weigh, in place, and return the record.

    The fold does so only when a touch leaves the tail; whoever reads affinities or what was seen does it first. Done
    twice it changes nothing more.

    >>> record = UserRecord(recent=[Touch(0.0, "a", 2, 0, ("shoes",), weight=1.0)])
    >>> sum_up(record, FoldConfig()).affinities[1], record.seen
    ({'shoes': [1.0, 1.0, 1.0]}, {'a': 0})
    """
    for touch in record.recent:
        _settle(record, touch, config)
    record.recent = [
        Touch(t.time, t.item_id, t.type_code, t.session, t.categories, t.brand, t.price_tier) for t in record.recent
    ]
    return record


def _settle(record: UserRecord, touch: Touch, config: FoldConfig) -> None:
    """Add to the tables what a touch weighs."""
    if touch.weight:
        caps = config.caps
        value = [touch.weight * f for f in config.decay.at(touch.time, record.landmark)]
        _weigh(record, touch, value, caps)
        mark(record.seen, touch.item_id, int(touch.time), caps.seen)


def _weigh(record: UserRecord, said: Touch | EventItem, value: Weights, caps: Caps) -> None:
    items, categories, brands, tiers = record.affinities
    _add(items, said.item_id, value, caps.item)
    for category in said.categories:
        _add(categories, category, value, caps.category)
    if said.brand:
        _add(brands, said.brand, value, caps.brand)
    if said.price_tier:
        _add(tiers, said.price_tier, value, caps.price_tier)


def _fold_refusal(record: UserRecord, event: Event, value: Weights, caps: Caps) -> None:
    for item in event.items:
        _weigh(record, item, value, caps)
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


def _fold_touches(record: UserRecord, event: Event, weight: float, config: FoldConfig) -> tuple[int, int] | None:
    time, code = event.timestamp, TYPE_CODES[event.event_type]
    session = crc32(event.session_id.encode()) if event.session_id else 0
    touches = [_touch(item, time, code, session, weight, config.caps.category) for item in event.items]
    if not touches:
        return None
    recent, tail = record.recent, record.tail
    if recent and time < recent[-1].time - LATENESS_S:
        record.dropped_late += len(touches)
        for touch in touches:
            _settle(record, touch, config)
        return None
    key, was = _join_session(record, event, session)
    for touch in touches:
        tail[touch.item_id] = tail.get(touch.item_id, 0) + 1
        if not recent or recent[-1] <= touch:
            recent.append(touch)
        else:
            insort(recent, touch)
    if len(recent) > config.caps.recent:
        keep_tail(record, config)
    if recent[-1].session == session:
        record.session_key = key if session else record.sessions[-1].key
    return key, was


def _touch(item: EventItem, time: float, code: int, session: int, weight: float, categories: int) -> Touch:
    named = tuple(item.categories[:categories])
    return Touch(time, item.item_id, code, session, named, item.brand or "", item.price_tier or "", weight)


def keep_tail(record: UserRecord, config: FoldConfig) -> None:
    """Take the oldest touches beyond the cap off the tail, and add what they weigh to the tables."""
    recent, tail = record.recent, record.tail
    excess = max(0, len(recent) - config.caps.recent)
    for touch in recent[:excess]:
        _settle(record, touch, config)
        if tail[touch.item_id] == 1:
            del tail[touch.item_id]
        else:
            tail[touch.item_id] -= 1
    del recent[:excess]


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


def _fold_marks(record: UserRecord, event: Event, caps: Caps) -> None:
    kind, time = event.event_type, int(event.timestamp)
    if kind in _CART:
        for item in event.items:
            if time >= abs(record.carted.get(item.item_id, 0)):
                record.carted[item.item_id] = _CART[kind] * time
        keep_latest(record.carted, caps.carted)
    elif kind == "purchase":
        for item in event.items:
            mark(record.purchased, item.item_id, time, caps.purchased)
    elif kind in HIDES:
        for item in event.items:
            mark(record.hidden, item.item_id, time, caps.hidden)
    elif kind == "impression":
        add_showings(record.shown, dict.fromkeys(item.item_id for item in event.items), [time], caps.shown)


def mark(table: dict[str, int], item_id: str, time: int, cap: int) -> None:
    """Note in a capped table when an item was marked last."""
    if time >= table.get(item_id, 0):
        table[item_id] = time
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
