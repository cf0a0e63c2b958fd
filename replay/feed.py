"""Feed recorded events to a system in their order, and ask for a slate in front of some of them.

A slate is asked for just before an event that continues a session; whether the item of that event is in it says what
the system would have shown in time: hit rate and reciprocal rank of the next item, predict first, then learn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from online.core.policy_document import DEFAULT_POLICY, POPULARITY_POLICY
from replay.ranking_metrics import bootstrap_mean, hit, reciprocal_rank
from replay.recorded import Recorded
from replay.system import System
from schemas.event import WEIGHTS, EventIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn

CHUNK_EVENTS = 500
NEXT_ITEM_TYPES = frozenset(name for name, weight in WEIGHTS.items() if weight > 0)
SEEN_SESSIONS = 100_000  # whose sessions are remembered, twice over


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """How to feed: `speed` in event seconds per second (None: as fast as it goes), slates of n items by each of the
    policies before every `ask_every`-th continuing event (0: none).
    """

    speed: float | None = None
    ask_every: int = 10
    n: int = 20
    policies: tuple[str, ...] = (DEFAULT_POLICY, POPULARITY_POLICY)


@dataclass
class Scores:
    """What one policy's slates were worth, by slate; sessions group them for the intervals."""

    hits: list[float] = field(default_factory=list)
    reciprocal_ranks: list[float] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)

    def document(self, seed: int) -> dict[str, object]:
        """Return hit rate and mean reciprocal rank of the next item, with 95 % intervals over sessions."""
        if not self.hits:
            return {"n": 0}
        rate = bootstrap_mean(self.hits, self.sessions, seed=seed)
        rank = bootstrap_mean(self.reciprocal_ranks, self.sessions, seed=seed)
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
    """Feed events, yielding the progress after each chunk.

    Items that no document describes are put into the catalogue when an event first names them: what is not in it is
    shown to nobody.
    """
    progress, known = Progress(), set[str]()
    _put(system, progress, known, items)
    sessions = _Sessions()
    pending: list[EventIn] = []
    began, first = clock(), None
    for _, event in recorded:
        at = event.timestamp or 0.0
        first = at if first is None else first
        if config.speed is not None:
            ahead = (at - first) / config.speed - (clock() - began)
            if ahead > 0:
                _post(system, progress, known, pending)
                sleep(ahead)
        session = sessions.continued(event)
        if session is not None and sessions.asks(config.ask_every):
            _post(system, progress, known, pending)
            _ask(system, progress, config, event, session, clock)
        pending.append(event)
        if len(pending) >= CHUNK_EVENTS:
            _post(system, progress, known, pending)
            yield progress
    _post(system, progress, known, pending)
    yield progress


class _Sessions:
    """Which events continue a session: the user's last event had the same session id and is known."""

    def __init__(self) -> None:
        self._young: dict[str, str] = {}
        self._old: dict[str, str] = {}
        self._continuing = 0

    def continued(self, event: EventIn) -> str | None:
        """Return the session's name when the event is a positive one on an item and not the session's first."""
        if event.event_type not in NEXT_ITEM_TYPES or event.item_id is None:
            return None
        user = event.user_id or f"v{event.visitor_id}"
        session = event.session_id or user
        if len(self._young) > SEEN_SESSIONS:
            self._old, self._young = self._young, {}
        before = self._young.get(user) or self._old.get(user)
        self._young[user] = session
        return session if before == session else None

    def asks(self, every: int) -> bool:
        self._continuing += 1
        return every > 0 and self._continuing % every == 0


def _ask(
    system: System,
    progress: Progress,
    config: FeedConfig,
    event: EventIn,
    session: str,
    clock: Callable[[], float],
) -> None:
    wanted = {event.item_id or ""}
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
        scores.sessions.append(session)


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
    named = [i for e in pending for i in ([e.item_id] if e.item_id else [x.item_id for x in e.items])]
    new = [item for item in dict.fromkeys(named) if item not in known]
    if new:
        at = pending[0].timestamp
        _put(system, progress, known, [ItemIn(item_id=item, created_at=at) for item in new])
    system.post(pending)
    progress.events += len(pending)
    pending.clear()
