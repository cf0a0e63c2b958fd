"""Feed recorded events to a system in their order, and ask for a slate in front of some of them.

A slate is asked for just before an event of a user seen before; whether an item of that event is in it says what the
system would have shown in time: hit rate and reciprocal rank of the next item, predict first, then learn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from online.core.policy_document import DEFAULT_POLICY, POPULARITY_POLICY
from replay.ranking_metrics import bootstrap_mean, hit, reciprocal_rank
from replay.recorded import Recorded
from replay.system import System
from schemas.event import WEIGHTS, EventIn, user_key
from schemas.item import ItemIn
from schemas.slate import RecommendIn

CHUNK_EVENTS = 500
NEXT_ITEM_TYPES = frozenset(name for name, weight in WEIGHTS.items() if weight > 0)
REMEMBERED_USERS = 100_000  # twice over


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """How to feed: `speed` in event seconds per second (None: as fast as it goes), slates of n items by each of the
    policies before every `ask_every`-th event of known users (0: none).
    """

    speed: float | None = None
    ask_every: int = 10
    n: int = 20
    policies: tuple[str, ...] = (DEFAULT_POLICY, POPULARITY_POLICY)


@dataclass
class Scores:
    """What one policy's slates were worth, by slate; users group them for the intervals."""

    hits: list[float] = field(default_factory=list)
    reciprocal_ranks: list[float] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    def document(self, seed: int) -> dict[str, object]:
        """Return hit rate and mean reciprocal rank of the next item, with 95 % intervals over users."""
        if not self.hits:
            return {"n": 0}
        rate = bootstrap_mean(self.hits, self.users, seed=seed)
        rank = bootstrap_mean(self.reciprocal_ranks, self.users, seed=seed)
        return {
            "n": len(self.hits),
            "next_item_hit_rate": round(rate.mean, 5),
            "next_item_hit_rate_ci": [round(rate.low, 5), round(rate.high, 5)],
            "next_item_mrr": round(rank.mean, 5),
            "next_item_mrr_ci": [round(rank.low, 5), round(rank.high, 5)],
        }


@dataclass
class Progress:
    """How far a feed is, and by policy what its slates were worth."""

    events: int = 0
    slates: int = 0
    items: int = 0
    slate_s: float = 0.0
    scores: dict[str, Scores] = field(default_factory=dict)


def feed(
    system: System,
    recorded: Iterable[Recorded],
    config: FeedConfig,
    *,
    items: Iterable[ItemIn] = (),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Progress]:
    """Feed events, yielding the progress after each chunk, and before each wait for the next event's time.

    Items that no document describes are put into the catalogue when an event first names them: what is not in it is
    shown to nobody.
    """
    progress, known = Progress(), set[str]()
    _put(system, progress, known, items)
    users = _Users(config.ask_every)
    pending: list[EventIn] = []
    began, first = clock(), None
    for _, event in recorded:
        at = event.timestamp or 0.0
        first = at if first is None else first
        if config.speed is not None:
            ahead = (at - first) / config.speed - (clock() - began)
            if ahead > 0:
                _post(system, progress, known, pending)
                yield progress
                sleep(ahead)
        if users.asks(event):
            _post(system, progress, known, pending)
            _ask(system, progress, config, event, clock)
        pending.append(event)
        if len(pending) >= CHUNK_EVENTS:
            _post(system, progress, known, pending)
            yield progress
    _post(system, progress, known, pending)
    yield progress


class _Users:
    """Which users were seen before, and which of their events are asked in front of."""

    def __init__(self, every: int) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._every, self._known_events = every, 0

    def asks(self, event: EventIn) -> bool:
        """Say whether to ask in front of a positive event on items, by a user seen before; remember the user."""
        if event.event_type not in NEXT_ITEM_TYPES:
            return False
        key = user_key(event.user_id, event.visitor_id)
        is_known = key in self._young or key in self._old
        if len(self._young) >= REMEMBERED_USERS:
            self._old, self._young = self._young, set()
        self._young.add(key)
        self._known_events += is_known
        return is_known and self._every > 0 and self._known_events % self._every == 0


def _ask(
    system: System,
    progress: Progress,
    config: FeedConfig,
    event: EventIn,
    clock: Callable[[], float],
) -> None:
    wanted = set(_item_ids(event))
    for policy in config.policies:
        began = clock()
        answer = system.recommend(
            RecommendIn(
                user_id=event.user_id,
                visitor_id=event.visitor_id,
                session_id=event.session_id,
                n=config.n,
                exclude_purchased=False,
                policy=policy,
                timestamp=event.timestamp,
            )
        )
        progress.slate_s += clock() - began
        progress.slates += 1
        scores = progress.scores.setdefault(policy, Scores())
        scores.hits.append(hit(answer.item_ids, wanted, config.n))
        scores.reciprocal_ranks.append(reciprocal_rank(answer.item_ids, wanted, config.n))
        scores.users.append(user_key(event.user_id, event.visitor_id))


def _put(system: System, progress: Progress, known: set[str], items: Iterable[ItemIn]) -> None:
    chunk: list[ItemIn] = []
    for item in items:
        if item.item_id is not None and item.item_id not in known:
            known.add(item.item_id)
            chunk.append(item)
    system.put_items(chunk)
    progress.items += len(chunk)


def _post(system: System, progress: Progress, known: set[str], pending: list[EventIn]) -> None:
    if not pending:
        return
    named = [item for event in pending for item in _item_ids(event)]
    new = [item for item in dict.fromkeys(named) if item not in known]
    if new:
        at = pending[0].timestamp
        _put(system, progress, known, [ItemIn(item_id=item, created_at=at) for item in new])
    system.post(pending)
    progress.events += len(pending)
    pending.clear()


def _item_ids(event: EventIn) -> list[str]:
    return [event.item_id] if event.item_id is not None else [item.item_id for item in event.items]
