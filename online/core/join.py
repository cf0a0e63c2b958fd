"""The join of slates and outcomes of one partition, in event time.

A slate stays open for a window; clicks, carts and purchases on its items mark slots as clicked, impressions mark them
as seen. When the window closes, the seen slots leave as one example. An outcome credits the slate it names, else the
latest one of its user within 30 minutes that holds the item.
"""

from __future__ import annotations

import heapq

import msgspec
import numpy as np

from online.ports import Batch, Message
from schemas.event import Event, decode_event
from schemas.slate import Slate, decode_slate

from .checkpoint import Folded, Outgoing
from .example import EXAMPLES, Example, encode_example
from .partition import EVENTS
from .update import dead_letter

JOIN_VIEW = "join"
SLATES = "slates"
OPEN_SLATE = "open_slate"  # family

CLICKS = frozenset({"click", "add_to_cart", "purchase", "play", "like", "bookmark"})
CREDIT_S = 1800.0  # how far back an outcome that names no slate looks for one
MAX_OPEN = 20_000  # slates of a partition; beyond it the oldest close early
USER_SLATES = 8  # open slates an outcome without a name is searched in


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


class JoinFold:
    """Joins one partition; `stored` is what the store holds of the family `OPEN_SLATE`."""

    topics = (SLATES, EVENTS)

    def __init__(self, partition: int, stored: dict[str, bytes], *, window_s: float) -> None:
        self._partition, self._window_s = partition, window_s
        self._open = {key: _decode(value) for key, value in stored.items()}
        self._closing = [(slate.time, key) for key, slate in self._open.items()]
        heapq.heapify(self._closing)
        self._by_user: dict[str, list[str]] = {}
        for key, slate in sorted(self._open.items(), key=lambda pair: pair[1].time):
            self._index(key, slate)
        self._watermark = 0.0

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch of slates or events; the examples it closes are in the outbox."""
        changed: set[str] = set()
        outbox: list[Outgoing] = []
        for message in batch.messages:
            try:
                changed |= self._slate(message) if batch.topic == SLATES else self._event(message)
            except msgspec.MsgspecError as error:
                if batch.topic == SLATES:  # events that are none are dead-lettered by the state view
                    outbox.append(dead_letter(batch, message, str(error)))
            changed |= self._close(outbox)
        writes = {key: _encode(self._open[key]) if key in self._open else None for key in sorted(changed)}
        return Folded({OPEN_SLATE: writes}, outbox)

    def _slate(self, message: Message) -> set[str]:
        slate = decode_slate(message.payload)
        self._watermark = max(self._watermark, slate.time)
        known = self._open.get(slate.recommendation_id)
        if known is not None and known.slate is not None:
            return set()  # shipped twice
        opened = known or self._opened(slate.recommendation_id, slate.time)
        opened.slate, opened.user_key = _rows(slate), slate.user_key
        opened.items = [slate.candidates[i] for i in slate.slots]
        self._index(slate.recommendation_id, opened)
        return {slate.recommendation_id}

    def _opened(self, key: str, time: float) -> OpenSlate:
        opened = self._open[key] = OpenSlate(key, time)
        heapq.heappush(self._closing, (time, key))
        return opened

    def _index(self, key: str, slate: OpenSlate) -> None:
        if slate.user_key is not None:
            keys = self._by_user.setdefault(slate.user_key, [])
            keys.append(key)
            del keys[:-USER_SLATES]

    def _event(self, message: Message) -> set[str]:
        event = decode_event(message.payload)
        self._watermark = max(self._watermark, event.timestamp)
        if event.event_type not in CLICKS and event.event_type != "impression":
            return set()
        changed = set()
        for item in event.items:
            slate = self._credited(event, item.item_id)
            if slate is not None:
                marked = slate.clicked if event.event_type in CLICKS else slate.seen
                if item.item_id not in marked:
                    marked.append(item.item_id)
                    changed.add(slate.recommendation_id)
        return changed

    def _credited(self, event: Event, item_id: str) -> OpenSlate | None:
        if event.recommendation_id is not None:
            if event.timestamp + self._window_s <= self._watermark:
                return None  # its slate has closed
            named = self._open.get(event.recommendation_id)
            return named or self._opened(event.recommendation_id, event.timestamp)
        for key in reversed(self._by_user.get(event.user_key, [])):
            slate = self._open[key]
            if item_id in slate.items and 0.0 <= event.timestamp - slate.time <= CREDIT_S:
                return slate
        return None

    def _close(self, outbox: list[Outgoing]) -> set[str]:
        closed = set()
        while self._closing and (
            self._closing[0][0] + self._window_s <= self._watermark or len(self._closing) > MAX_OPEN
        ):
            _, key = heapq.heappop(self._closing)
            slate = self._open.pop(key)
            closed.add(key)
            keys = self._by_user.get(slate.user_key or "", [])
            if key in keys:
                keys.remove(key)
                if not keys:
                    del self._by_user[slate.user_key or ""]
            example = _example(slate)
            if example is not None:
                outbox.append((EXAMPLES, 0, encode_example(example)))
        return closed


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
