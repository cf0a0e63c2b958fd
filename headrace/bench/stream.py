"""The stream the benches feed: behaviour events of many users on a catalogue, seeded and repeatable."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from online.core.catalogue import ITEMS
from online.core.partition import EVENTS, partition_of
from online.ports import EventLog, Position
from schemas.event import Event, EventItem, encode_event
from schemas.item import Item, encode_item, price_tier

CATEGORIES, BRANDS_PER_CATEGORY = 40, 10
VISIT_EVENTS = 6  # on average
PAUSE_S = 20.0  # between the events of a visit, on average
VISITS_PER_DAY = 2.0  # of a user, on average

_TYPES = ("impression", "view", "click", "add_to_cart", "purchase", "dislike")
_SHARES = (0.10, 0.50, 0.28, 0.07, 0.04, 0.01)
_DRAWS = 4096  # random numbers drawn at a time
_CHUNK = 5000  # messages in one append


class Stream:
    """Visits of users to a shop, as events with all facets stamped, merged in time.

    Users come more or less often (log-normal, sigma 1); a visit stays in one of its user's three favourite
    categories, where items are popular by 1/(rank + 10). Every event names one item and carries surface, device and
    country.

    >>> stream = Stream(users=5, items=80, seed=1)
    >>> [event.event_id for event in stream.events(2)]
    ['b1-0', 'b1-1']
    """

    def __init__(self, *, users: int, items: int, seed: int, start: float = 1.75e9) -> None:
        self.users, self.items = users, items
        self._seed, self._made = seed, 0
        self._rng = np.random.default_rng(seed)
        activity = self._rng.lognormal(sigma=1.0, size=users)
        self._activity = np.cumsum(activity / activity.sum())
        self._ranks = max(1, items // CATEGORIES)
        popularity = 1.0 / (np.arange(self._ranks) + 10.0)
        self._popularity = np.cumsum(popularity / popularity.sum())
        self._steps = self._draw_steps()
        self._between_visits_s = 86_400.0 / (users * VISITS_PER_DAY)
        self._next_visit = start
        self._running: list[tuple[float, int, int]] = []  # heap of visits: next event's time, user, category

    def events(self, n: int) -> Iterator[Event]:
        """Yield the next n events in time order; no two have the same id."""
        for rank, kind, ends, pause in islice(self._steps, n):
            at, user, category = self._next()
            yield self._event(at, user, rank * CATEGORIES + category, _TYPES[kind])
            if not ends:
                heapq.heappush(self._running, (at + pause, user, category))

    def _draw_steps(self) -> Iterator[tuple[int, int, bool, float]]:
        """Yield rank of the item, type of the event, whether the visit ends with it, and the pause behind it."""
        rng = self._rng
        while True:
            ranks = np.searchsorted(self._popularity[:-1], rng.random(_DRAWS)).tolist()
            kinds = rng.choice(len(_TYPES), size=_DRAWS, p=_SHARES).tolist()
            ends = (rng.random(_DRAWS) < 1.0 / VISIT_EVENTS).tolist()
            yield from zip(ranks, kinds, ends, rng.exponential(PAUSE_S, _DRAWS).tolist(), strict=True)

    def _next(self) -> tuple[float, int, int]:
        while not self._running or self._running[0][0] > self._next_visit:
            user = int(np.searchsorted(self._activity[:-1], self._rng.random()))
            category = (user * 7 + int(self._rng.integers(3)) * 11) % CATEGORIES
            heapq.heappush(self._running, (self._next_visit, user, category))
            self._next_visit += float(self._rng.exponential(self._between_visits_s))
        return heapq.heappop(self._running)

    def _event(self, at: float, user: int, item: int, kind: str) -> Event:
        self._made += 1
        return Event(
            event_id=f"b{self._seed}-{self._made - 1}",
            event_type=kind,
            timestamp=round(at, 3),
            received_at=round(at, 3) + 0.05,
            user_id=str(user),
            items=[_stamped(item % self.items)],
            surface="home",
            context={"device": "phone" if user % 3 else "desktop", "country": "NL"},
        )

    def catalogue(self, now: float) -> Iterator[Item]:
        """Yield the documents of all items."""
        for number in range(self.items):
            facets = _stamped(number)
            yield Item(
                item_id=facets.item_id,
                updated_at=now,
                created_at=now - 86_400.0 * (number % 90),
                categories=facets.categories,
                brand=facets.brand,
                price=_price(number),
            )


def _stamped(item: int) -> EventItem:
    category = item % CATEGORIES
    return EventItem(
        f"item-{item}",
        categories=[f"category-{category}"],
        brand=f"brand-{category * BRANDS_PER_CATEGORY + item // CATEGORIES % BRANDS_PER_CATEGORY}",
        price_tier=price_tier(_price(item)),
    )


def _price(item: int) -> float:
    return float(5 + item * 7919 % 400)


def messages(events: Iterable[Event], partitions: int) -> list[tuple[int, bytes]]:
    """Return events as messages of their users' partitions."""
    return [(partition_of(event.user_key, partitions), encode_event(event)) for event in events]


def append(log: EventLog, topic: str, messages: Sequence[tuple[int, bytes]]) -> dict[int, Position]:
    """Append messages in large chunks; return the last position of each partition."""
    last: dict[int, Position] = {}
    for at in range(0, len(messages), _CHUNK):
        chunk = messages[at : at + _CHUNK]
        positions = log.append(topic, chunk)
        last.update({partition: position for (partition, _), position in zip(chunk, positions, strict=True)})
    return last


def load_catalogue(log: EventLog, stream: Stream, now: float) -> None:
    """Append all item documents of the stream."""
    append(log, ITEMS, [(0, encode_item(item)) for item in stream.catalogue(now)])


def load_events(log: EventLog, stream: Stream, n: int, partitions: int) -> dict[int, Position]:
    """Append the stream's next n events; return the last position of each partition."""
    return append(log, EVENTS, messages(stream.events(n), partitions))
