"""The join of slates and outcomes of one partition, in event time.

A slate stays open for a window; clicks, carts and purchases on its items mark slots as clicked, impressions mark them
as seen. When the window closes, the seen slots leave as one example. An outcome credits the slate it names, else the
latest one of its user within 30 minutes that holds the item.

Windows close by the time of the events alone: after a pause slates are read faster than events, and must wait for
their outcomes.
"""

from __future__ import annotations

import heapq
from bisect import insort

import msgspec
import numpy as np

from online.ports import Batch, Message
from schemas.event import Event, decode_event
from schemas.slate import MAX_SLATE, Slate, decode_slate

from .checkpoint import Folded, Outgoing
from .dead_letter import dead_letter
from .example import EXAMPLES, Example, encode_example
from .foldable import Unfoldable, check_event, clamp
from .partition import EVENTS
from .record import TYPE_CODES

JOIN_VIEW = "join"
SLATES = "slates"
OPEN_SLATE = "open_slate"  # family

CLICKS = frozenset({"click", "add_to_cart", "purchase", "play", "like", "bookmark"})
CREDIT_S = 1800.0  # how far back an outcome that names no slate looks for one
MAX_OPEN = 20_000  # slates of a partition; beyond it the oldest close early
USER_SLATES = 8  # open slates an outcome without a name is searched in
WATERMARK = ""  # key of the latest event time among the open slates; no slate has this id


class OpenSlate(msgspec.Struct, array_like=True):
    """A slate whose window is open. It may be known by its outcomes only, when they overtook it."""

    recommendation_id: str
    time: float
    slate: Example | None = None
    user_key: str | None = None
    items: list[str] = []
    seen: list[str] = []
    clicked: list[str] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(OpenSlate).decode
_decode_watermark = msgspec.msgpack.Decoder(float).decode


class JoinFold:
    """Joins one partition; `stored` is what the store holds of the family `OPEN_SLATE`."""

    topics = (SLATES, EVENTS)

    def __init__(self, partition: int, stored: dict[str, bytes], *, window_s: float) -> None:
        self._partition, self._window_s = partition, window_s
        self._watermark = _decode_watermark(stored[WATERMARK]) if WATERMARK in stored else 0.0
        self._open = {key: _decode(value) for key, value in stored.items() if key != WATERMARK}
        self._closing = [(slate.time, key) for key, slate in self._open.items()]
        heapq.heapify(self._closing)
        self._by_user: dict[str, list[tuple[float, str]]] = {}  # by time
        for slate in self._open.values():
            self._index(slate)

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch of slates or events; the examples it closes are in the outbox."""
        changed: set[str] = set()
        outbox: list[Outgoing] = []
        for message in batch.messages:
            try:
                changed |= self._slate(message) if batch.topic == SLATES else self._event(message)
            except (msgspec.MsgspecError, Unfoldable, ValueError, IndexError) as error:  # the latter: misfit matrices
                if batch.topic == SLATES:  # events that are none are dead-lettered by the state view
                    outbox.append(dead_letter(batch, message, str(error)))
            changed |= self._close(outbox)
        writes: dict[str, bytes | None] = {
            key: _encode(self._open[key]) if key in self._open else None for key in sorted(changed)
        }
        writes[WATERMARK] = _encode(self._watermark)
        return Folded({OPEN_SLATE: writes}, outbox)

    def _slate(self, message: Message) -> set[str]:
        slate = decode_slate(message.payload)
        key = slate.recommendation_id
        known = self._open.get(key)
        if known is not None and known.slate is not None:
            return set()  # shipped twice
        rows, items = _rows(slate), [slate.candidates[i] for i in slate.slots]
        opened = known or self._opened(key, slate.time)
        opened.slate, opened.user_key, opened.items = rows, slate.user_key, items
        if opened.time != slate.time:  # its outcomes overtook it
            opened.time = slate.time
            heapq.heappush(self._closing, (slate.time, key))
        self._index(opened)
        return {key}

    def _opened(self, key: str, time: float) -> OpenSlate:
        opened = self._open[key] = OpenSlate(key, time)
        heapq.heappush(self._closing, (time, key))
        return opened

    def _index(self, slate: OpenSlate) -> None:
        if slate.user_key is not None:
            keys = self._by_user.setdefault(slate.user_key, [])
            insort(keys, (slate.time, slate.recommendation_id))
            del keys[:-USER_SLATES]

    def _event(self, message: Message) -> set[str]:
        event = decode_event(message.payload)
        if event.event_type not in TYPE_CODES:
            return set()  # identity messages: an event that one of them forwards was joined where it came in
        check_event(event)
        clamp(event)
        self._watermark = max(self._watermark, event.timestamp)
        if event.event_type not in CLICKS and event.event_type != "impression":
            return set()
        changed = set()
        for item in event.items:
            slate = self._credited(event, item.item_id)
            if slate is not None:
                marked = slate.clicked if event.event_type in CLICKS else slate.seen
                if item.item_id not in marked and len(marked) < MAX_SLATE:
                    marked.append(item.item_id)
                    changed.add(slate.recommendation_id)
        return changed

    def _credited(self, event: Event, item_id: str) -> OpenSlate | None:
        if event.recommendation_id:
            named = self._open.get(event.recommendation_id)
            if named is not None:
                holds = named.slate is None or item_id in named.items
                return named if holds and event.timestamp < named.time + self._window_s else None
            is_over = event.timestamp + self._window_s <= self._watermark  # its slate has closed
            return None if is_over else self._opened(event.recommendation_id, event.timestamp)
        for time, key in reversed(self._by_user.get(event.user_key, [])):
            age = event.timestamp - time
            if item_id in self._open[key].items and 0.0 <= age <= CREDIT_S and age < self._window_s:
                return self._open[key]
        return None

    def _close(self, outbox: list[Outgoing]) -> set[str]:
        closed = set()
        while self._closing and (self._closing[0][0] + self._window_s <= self._watermark or len(self._open) > MAX_OPEN):
            time, key = heapq.heappop(self._closing)
            if key not in self._open or self._open[key].time != time:
                continue  # it was known by another time
            slate = self._open.pop(key)
            closed.add(key)
            self._forget(slate)
            example = _example(slate)
            if example is not None:
                outbox.append((EXAMPLES, 0, encode_example(example)))
        return closed

    def _forget(self, slate: OpenSlate) -> None:
        keys = self._by_user.get(slate.user_key or "", [])
        if (slate.time, slate.recommendation_id) in keys:
            keys.remove((slate.time, slate.recommendation_id))
            if not keys:
                del self._by_user[slate.user_key or ""]


def _rows(slate: Slate) -> Example:
    """Return all slots of a slate as the rows of an example, none of them clicked yet."""
    features = np.frombuffer(slate.features, np.float32).reshape(-1, len(slate.feature_names))
    return Example(
        slate.recommendation_id,
        slate.partition,
        slate.surface,
        slate.time,
        slate.model_version,
        slate.feature_names,
        features[slate.slots].tobytes(),
        list(range(1, len(slate.slots) + 1)),
        [False] * len(slate.slots),
    )


def _example(opened: OpenSlate) -> Example | None:
    """Return the seen rows with their labels; None when nothing was seen, so that nothing can be learned.

    Seen are the slots an impression names and the clicked ones; without any impression, all down to the last click.
    """
    if opened.slate is None:
        return None
    clicked = [item in opened.clicked for item in opened.items]
    last_click = max((i for i, hit in enumerate(clicked) if hit), default=-1)
    if opened.seen:
        rows = [i for i, item in enumerate(opened.items) if item in opened.seen or clicked[i]]
    else:
        rows = list(range(last_click + 1))
    if not rows:
        return None
    features = np.frombuffer(opened.slate.features, np.float32).reshape(len(opened.items), -1)
    return msgspec.structs.replace(
        opened.slate,
        features=features[rows].tobytes(),
        positions=[i + 1 for i in rows],
        clicked=[clicked[i] for i in rows],
    )
