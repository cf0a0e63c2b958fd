"""The join of slates and outcomes of one partition, in event time.

A slate stays open for a window; clicks, carts and purchases on its items mark slots as clicked, impressions mark them
as seen. When the window closes, the seen slots leave as one example. An outcome credits the slate it names, else the
latest one of its user within 30 minutes that holds the item.

A slate that was clicked stays known for longer: what its clicked items are put into a cart or bought after the window
leaves as a correction of its example.

Slates that a robot asked for, and what declared robots do, are left out; so are those of held-out units.

Windows close by the time of the events alone: after a pause slates are read faster than events, and must wait for
their outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from online.ports import Batch, Message
from schemas.event import Event, decode_event
from schemas.slate import MAX_SLATE, Slate, decode_slate

from .checkpoint import Folded, Outgoing
from .controls import CONSENT_WITHDRAWN
from .dead_letter import dead_letter
from .decay import DAY_S
from .example import CART, CLICK, EXAMPLES, PURCHASE, Example, encode_example
from .foldable import Unfoldable, check_event, clamp
from .open_slate import OpenSlate, OpenSlates
from .partition import EVENTS
from .policy_document import UNLEARNED
from .propensity import uniform_shares
from .record import TYPE_CODES
from .session import hash64
from .slate_features import slate_features

JOIN_VIEW = "join"
SLATES = "slates"
OPEN_SLATE = "open_slate"  # family

CLICKS = frozenset({"click", "add_to_cart", "purchase", "play", "like", "bookmark"})
LATER = {"add_to_cart": CART, "purchase": PURCHASE}
"""Outcomes that may follow a click after days, and what they add to a row."""
OUTCOMES = CLICKS | {"impression"}

CREDIT_S = 1800.0  # how far back an outcome that names no slate looks for one
PURCHASE_WINDOW_S = 7 * DAY_S  # within which a click may lead to a cart or a purchase
MAX_OPEN = 20_000  # slates of a partition; beyond it the oldest close early
MAX_CLICKED = 20_000  # clicked slates of a partition that are remembered
WATERMARK = ""  # key of the latest event time among the open slates; no slate has this id

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(OpenSlate).decode
_decode_watermark = msgspec.msgpack.Decoder(float).decode


class JoinFold:
    """Joins one partition; `stored` is what the store holds of the family `OPEN_SLATE`."""

    topics = (SLATES, EVENTS)

    def __init__(self, partition: int, stored: dict[str, bytes], *, window_s: float) -> None:
        self._partition, self._window_s = partition, window_s
        self._watermark = _decode_watermark(stored[WATERMARK]) if WATERMARK in stored else 0.0
        slates = [_decode(value) for key, value in stored.items() if key != WATERMARK]
        self._open = OpenSlates((slate for slate in slates if not slate.is_closed), MAX_OPEN)
        self._clicked = OpenSlates((slate for slate in slates if slate.is_closed), MAX_CLICKED)

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch of slates or events; the examples it closes or corrects are in the outbox."""
        changed: set[str] = set()
        outbox: list[Outgoing] = []
        for message in batch.messages:
            try:
                changed |= self._slate(message) if batch.topic == SLATES else self._event(message, outbox)
            except (msgspec.MsgspecError, Unfoldable, ValueError, IndexError) as error:  # the latter: misfit matrices
                if batch.topic == SLATES:  # events that are none are dead-lettered by the state view
                    outbox.append(dead_letter(batch, message, str(error)))
            changed |= self._close(outbox)
        writes = {key: self._stored(key) for key in sorted(changed)}
        writes[WATERMARK] = _encode(self._watermark)
        return Folded({OPEN_SLATE: writes}, outbox)

    def _stored(self, key: str) -> bytes | None:
        slate = self._open.by_id.get(key) or self._clicked.by_id.get(key)
        return None if slate is None else _encode(slate)

    def _slate(self, message: Message) -> set[str]:
        slate = decode_slate(message.payload)
        key = slate.recommendation_id
        if slate.robot or slate.held_out or CONSENT_WITHDRAWN in slate.controls:
            return set()
        known = self._open.by_id.get(key)
        if key in self._clicked.by_id or (known is not None and known.slate is not None):
            return set()  # shipped twice
        rows, items = _rows(slate), [slate.candidates[i] for i in slate.slots]
        opened = known or OpenSlate(key, slate.time)
        opened.slate, opened.user_key, opened.items, opened.time = rows, slate.user_key, items, slate.time
        self._open.put(opened)
        return {key}

    def _event(self, message: Message, outbox: list[Outgoing]) -> set[str]:
        event = decode_event(message.payload)
        if event.event_type not in TYPE_CODES:
            return set()  # identity messages: an event that one of them forwards was joined where it came in
        check_event(event)
        clamp(event)
        self._watermark = max(self._watermark, event.timestamp)
        changed = self._close(outbox)  # first: what the event follows must have left
        is_counted = event.event_type in OUTCOMES and not (event.robot or event.held_out)
        for item in event.items if is_counted else ():
            if (slate := self._credited(event, item.item_id)) is not None:
                is_news = _mark(slate, event, item.item_id)
            elif (slate := self._followed(event, item.item_id)) is not None:
                is_news = _mark(slate, event, item.item_id)
                if is_news:
                    correction = _correction(slate, item.item_id, LATER[event.event_type])
                    outbox.append((EXAMPLES, 0, encode_example(correction)))
            else:
                continue
            if is_news:
                changed.add(slate.recommendation_id)
        return changed

    def _credited(self, event: Event, item_id: str) -> OpenSlate | None:
        """Return the open slate that an outcome of an item belongs to."""
        if event.recommendation_id:
            named = self._open.by_id.get(event.recommendation_id)
            if named is not None:
                holds = named.slate is None or item_id in named.items
                return named if holds and event.timestamp < named.time + self._window_s else None
            is_over = event.timestamp + self._window_s <= self._watermark  # its slate has closed
            if is_over or event.recommendation_id in self._clicked.by_id:
                return None
            opened = OpenSlate(event.recommendation_id, event.timestamp)
            self._open.put(opened)
            return opened
        for slate in self._open.latest(event.user_key):
            age = event.timestamp - slate.time
            if item_id in slate.items and 0.0 <= age <= CREDIT_S and age < self._window_s:
                return slate
        return None

    def _followed(self, event: Event, item_id: str) -> OpenSlate | None:
        """Return the closed slate whose click on the item the outcome follows."""
        if event.event_type not in LATER:
            return None
        if event.recommendation_id:
            named = self._clicked.by_id.get(event.recommendation_id)
            candidates = iter([named] if named is not None else [])
        else:
            candidates = self._clicked.latest(event.user_key)
        return next((s for s in candidates if item_id in s.items and _is_later(event, s)), None)

    def _close(self, outbox: list[Outgoing]) -> set[str]:
        changed = set()
        for slate in self._open.leave(self._watermark - self._window_s):
            changed.add(slate.recommendation_id)
            example = _example(slate)
            if example is not None:
                outbox.append((EXAMPLES, 0, encode_example(example)))
                if slate.clicked and any(example.clicked):
                    self._clicked.put(_clicked_rows(slate, example))
        changed |= {slate.recommendation_id for slate in self._clicked.leave(self._watermark - PURCHASE_WINDOW_S)}
        return changed


def _is_later(event: Event, slate: OpenSlate) -> bool:
    return 0.0 <= event.timestamp - slate.time < PURCHASE_WINDOW_S


def _mark(slate: OpenSlate, event: Event, item_id: str) -> bool:
    """Note an outcome of an item; say whether it is news."""
    is_news = False
    for marked in _marks(slate, event.event_type):
        if item_id not in marked and len(marked) < MAX_SLATE:
            marked.append(item_id)
            is_news = True
    if not slate.device and is_news:
        slate.device = _device(event.context)
    return is_news


def _marks(slate: OpenSlate, event_type: str) -> Iterator[list[str]]:
    yield slate.clicked if event_type in CLICKS else slate.seen
    if event_type in LATER:
        yield slate.carted if LATER[event_type] == CART else slate.purchased


def _device(context: object) -> str:
    """Return the device that a context names; empty when it names none.

    >>> _device({"device": "phone"}), _device({"device": 7}), _device(None)
    ('phone', '', '')
    """
    device = context.get("device") if isinstance(context, dict) else None
    return device if isinstance(device, str) else ""


def _rows(slate: Slate) -> Example:
    """Return all slots of a slate as the rows of an example, none of them clicked yet."""
    return Example(
        slate.recommendation_id,
        slate.partition,
        slate.surface,
        slate.time,
        slate.model_version,
        slate.feature_names,
        slate_features(slate)[slate.slots].tobytes(),
        list(range(1, len(slate.slots) + 1)),
        [False] * len(slate.slots),
        device=_device(slate.request.get("context")),
        policy_id=slate.policy_id,
        utilities=[] if slate.ranker in UNLEARNED else np.frombuffer(slate.utilities)[slate.slots].tolist(),
        uniform=uniform_shares(slate).tolist(),
        user=hash64(slate.user_key) if slate.user_key is not None else 0,
    )


def _picked(slate: Example, items: int, rows: list[int], outcomes: list[int], device: str) -> Example:
    """Return some rows of a slate of so many items, with what they led to."""
    features = np.frombuffer(slate.features, np.float32).reshape(items, -1)
    return msgspec.structs.replace(
        slate,
        features=features[rows].tobytes(),
        positions=[slate.positions[i] for i in rows],
        clicked=[outcome > 0 for outcome in outcomes],
        outcomes=outcomes,
        utilities=[slate.utilities[i] for i in rows] if slate.utilities else [],
        uniform=[slate.uniform[i] for i in rows] if slate.uniform else [],
        device=slate.device or device,
    )


def _example(opened: OpenSlate) -> Example | None:
    """Return the seen rows with their labels; None when nothing was seen, so that nothing can be learned.

    Seen are the slots an impression names and the clicked ones; without any impression, all down to the last click.
    """
    if opened.slate is None:
        return None
    outcomes = [_outcome(opened, item) for item in opened.items]
    last_click = max((i for i, outcome in enumerate(outcomes) if outcome), default=-1)
    if opened.seen:
        rows = [i for i, item in enumerate(opened.items) if item in opened.seen or outcomes[i]]
    else:
        rows = list(range(last_click + 1))
    if not rows:
        return None
    return _picked(opened.slate, len(opened.items), rows, [outcomes[i] for i in rows], opened.device)


def _outcome(opened: OpenSlate, item: str) -> int:
    return CLICK * (item in opened.clicked) + CART * (item in opened.carted) + PURCHASE * (item in opened.purchased)


def _clicked_rows(opened: OpenSlate, example: Example) -> OpenSlate:
    """Return what is remembered of a slate that has closed."""
    items = [opened.items[slot - 1] for slot in example.positions]
    rows = [i for i, clicked in enumerate(example.clicked) if clicked]
    return OpenSlate(
        opened.recommendation_id,
        opened.time,
        slate=_picked(example, len(items), rows, [example.outcomes[i] for i in rows], opened.device),
        user_key=opened.user_key,
        items=[items[i] for i in rows],
        clicked=[items[i] for i in rows],
        carted=opened.carted,
        purchased=opened.purchased,
        is_closed=True,
    )


def _correction(closed: OpenSlate, item_id: str, outcome: int) -> Example:
    assert closed.slate is not None
    correction = _picked(closed.slate, len(closed.items), [closed.items.index(item_id)], [outcome], closed.device)
    correction.is_correction = True
    return correction
