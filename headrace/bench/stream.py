"""The stream the benches feed: behaviour events of many users on a catalogue, seeded and repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from online.core.catalogue import ITEMS
from online.core.partition import EVENTS, partition_of
from online.ports import EventLog, Position
from schemas.event import Event, EventItem, encode_event
from schemas.item import Item, encode_item, price_tier

_TYPES = ("impression", "view", "click", "add_to_cart", "purchase", "dislike")
_SHARES = (0.10, 0.50, 0.28, 0.07, 0.04, 0.01)
_CATEGORIES, _BRANDS = 40, 300
_CHUNK = 5000  # events in one append
STEP_S = 0.02  # of event time between two events: 50/s, so that 5,000 users have sessions and pauses


class Stream:
    """Events with all facets stamped, as they stand on the log.

    Users are active to different degrees (log-normal, sigma 1) and items popular to different degrees
    (1/(rank + 10)); every event names one item and carries surface, device and country.

    >>> stream = Stream(users=5, items=5, seed=1)
    >>> [event.event_id for event in stream.events(2, start=0.0)]
    ['b1-0', 'b1-1']
    """

    def __init__(self, *, users: int, items: int, seed: int) -> None:
        self.users, self.items = users, items
        self._seed, self._made = seed, 0
        self._rng = np.random.default_rng(seed)
        activity = self._rng.lognormal(sigma=1.0, size=users)
        popularity = 1.0 / (np.arange(items) + 10.0)
        self._activity = np.cumsum(activity / activity.sum())
        self._popularity = np.cumsum(popularity / popularity.sum())

    def events(self, n: int, *, start: float, step_s: float = STEP_S) -> Iterator[Event]:
        """Yield the next n events, the first at `start` (epoch seconds); no two have the same id."""
        users = np.searchsorted(self._activity[:-1], self._rng.random(n)).tolist()
        items = np.searchsorted(self._popularity[:-1], self._rng.random(n)).tolist()
        kinds = self._rng.choice(len(_TYPES), size=n, p=_SHARES).tolist()
        for i, (user, item, kind) in enumerate(zip(users, items, kinds, strict=True)):
            at = start + i * step_s
            yield Event(
                event_id=f"b{self._seed}-{self._made}",
                event_type=_TYPES[kind],
                timestamp=at,
                received_at=at + 0.05,
                user_id=str(user),
                items=[_stamped(item)],
                surface="home",
                context={"device": "phone" if user % 3 else "desktop", "country": "NL"},
            )
            self._made += 1

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
    return EventItem(
        f"item-{item}",
        categories=[f"category-{item % _CATEGORIES}"],
        brand=f"brand-{item % _BRANDS}",
        price_tier=price_tier(_price(item)),
    )


def _price(item: int) -> float:
    return float(5 + item * 7919 % 400)


def append_events(log: EventLog, events: Sequence[Event], partitions: int) -> dict[int, Position]:
    """Append events to their users' partitions; return the last position of each partition."""
    messages = [(partition_of(event.user_key, partitions), encode_event(event)) for event in events]
    last: dict[int, Position] = {}
    for at in range(0, len(messages), _CHUNK):
        chunk = messages[at : at + _CHUNK]
        for (partition, _), position in zip(chunk, log.append(EVENTS, chunk), strict=True):
            last[partition] = position
    return last


def append_catalogue(log: EventLog, items: Sequence[Item]) -> None:
    """Append item documents."""
    for at in range(0, len(items), _CHUNK):
        log.append(ITEMS, [(0, encode_item(item)) for item in items[at : at + _CHUNK]])
