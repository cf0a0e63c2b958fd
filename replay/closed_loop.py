"""The closed loop: shoppers of the synthetic shop ask for slates, react to them, and so shape the next ones.

Half of the users get the personal policy, half the popularity policy, by their id. What each slate was worth is known:
its expected clicks, and those of the best slate the shop could have shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from zlib import crc32

from online.core.policy_document import DEFAULT_POLICY, POPULARITY_POLICY
from replay.shop import Shop
from replay.shopper import Ask, Browse, Visit
from replay.system import Answer, System
from schemas.slate import RecommendIn

ARMS = {"personal": DEFAULT_POLICY, "popularity": POPULARITY_POLICY}
"""Arm -> policy."""


@dataclass
class Tally:
    """What one arm's slates got, and what they were worth in truth."""

    slates: int = 0
    slots: int = 0
    clicks: int = 0
    expected_clicks: float = 0.0
    oracle_clicks: float = 0.0

    def copy(self) -> Tally:
        """Return the tally as it stands."""
        return replace(self)

    def since(self, earlier: Tally) -> Tally:
        """Return what came after an earlier copy."""
        return Tally(
            self.slates - earlier.slates,
            self.slots - earlier.slots,
            self.clicks - earlier.clicks,
            self.expected_clicks - earlier.expected_clicks,
            self.oracle_clicks - earlier.oracle_clicks,
        )

    def document(self) -> dict[str, float]:
        """Return the figures, with click-through per slot and regret per slate."""
        return {
            "slates": self.slates,
            "slots": self.slots,
            "clicks": self.clicks,
            "ctr": round(self.clicks / self.slots, 5) if self.slots else 0.0,
            "expected_clicks_per_slate": round(self.expected_clicks / self.slates, 5) if self.slates else 0.0,
            "oracle_clicks_per_slate": round(self.oracle_clicks / self.slates, 5) if self.slates else 0.0,
            "regret_per_slate": round((self.oracle_clicks - self.expected_clicks) / self.slates, 5)
            if self.slates
            else 0.0,
        }


@dataclass
class Loop:
    """The state of a closed loop: tallies by arm, counters, and the clock of the shop."""

    arms: Mapping[str, str] = field(default_factory=lambda: ARMS)
    tallies: dict[str, Tally] = field(init=False)
    events: int = 0
    visits: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.tallies = {arm: Tally() for arm in self.arms}


Hook = Callable[[Visit, Ask, Answer, int], None]
"""Called after each slate was answered, with the number of clicks it got."""


def arm_of(user_id: str, arms: Mapping[str, str] = ARMS) -> str:
    """Return a user's arm.

    >>> sorted({arm_of(f"u{i}") for i in range(20)})
    ['personal', 'popularity']
    """
    return list(arms)[crc32(b"arm" + user_id.encode()) % len(arms)]


def run(
    system: System,
    shop: Shop,
    *,
    rate: float,
    until: float,
    arms: Mapping[str, str] = ARMS,
    on_slate: Hook | None = None,
) -> Iterator[Loop]:
    """Play the shop's visits against a system, yielding the loop after every step, in the order of shop time.

    Args:
        system: takes the events and answers the slates.
        shop: whose shoppers arrive.
        rate: visits per second of shop time.
        until: shop time (epoch seconds) at which no further visit begins.
        arms: arm -> policy; users are shared out among them by their id.
        on_slate: told about every slate.
    """
    system.put_items(shop.opening)
    loop, order, coming = Loop(arms, now=shop.config.start), count(), shop.newcomers
    arrivals = shop.arrivals(rate, shop.config.start)
    upcoming = next(arrivals)
    steps: list[tuple[float, int, Visit, Browse | Ask]] = []
    while True:
        while upcoming.at < until and (not steps or upcoming.at <= steps[0][0]):
            visit = Visit(shop, upcoming)
            loop.visits += 1
            for step in visit.steps:
                heapq.heappush(steps, (step.at, next(order), visit, step))
            upcoming = next(arrivals)
        if not steps:
            return
        loop.now, _, visit, step = heapq.heappop(steps)
        if coming and loop.now >= shop.config.start + shop.config.newcomers_after:
            system.put_items(coming)
            coming = ()
        if isinstance(step, Browse):
            system.post(step.events)
            loop.events += len(step.events)
        else:
            _serve(system, shop, loop, visit, step, on_slate)
        yield loop


def _serve(system: System, shop: Shop, loop: Loop, visit: Visit, ask: Ask, on_slate: Hook | None) -> None:
    arm = arm_of(ask.user_id, loop.arms)
    answer = system.recommend(
        RecommendIn(
            user_id=ask.user_id,
            session_id=ask.session_id,
            surface=ask.surface,
            n=ask.n,
            item_id=ask.item_id,
            exclude_purchased=False,
            policy=loop.arms[arm],
            timestamp=ask.at,
        )
    )
    events = visit.react(ask, answer.item_ids, recommendation_id=answer.recommendation_id)
    system.post(events)
    loop.events += len(events)
    clicks = sum(event.event_type == "click" for event in events)
    tally = loop.tallies[arm]
    tally.slates += 1
    tally.slots += len(answer.item_ids)
    tally.clicks += clicks
    expected = shop.expected_clicks(visit.user, visit.intent, answer.item_ids, ask.at)
    tally.expected_clicks += expected
    tally.oracle_clicks += expected + shop.regret(visit.user, visit.intent, answer.item_ids, ask.at)
    if on_slate is not None:
        on_slate(visit, ask, answer, clicks)
