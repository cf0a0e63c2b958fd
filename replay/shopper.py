"""A shopper's visit to the synthetic shop: what it does by itself, and how it answers the slates it is given.

A visit is driven by generators seeded with (seed, user, number of the session), those of its reactions also with the
number of the question. So it is the same however visits interleave, and two policies that show the same item in the
same slot of the same question get the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from replay.shop import Arrival, Floats, Shop
from schemas.event import EventIn

_SCRIPT, _REACTION = 10, 11  # streams of randomness beside those of the shop
_ACTS = ("click", "add_to_cart", "purchase")  # each only after the one before
_PAUSE_S = 20.0  # least time between a slate and the next step: the reaction to a slate takes less
_REACTION_S = 15.0


@dataclass(frozen=True, slots=True)
class Browse:
    """The shopper looks around by itself: events to post, in time order."""

    at: float
    events: tuple[EventIn, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """The shopper opens a page that shows a slate; hand the slate to `Visit.react`."""

    at: float
    number: int
    surface: str
    n: int
    user_id: str
    session_id: str
    item_id: str | None  # the item of the page, where the surface is `item`


class Visit:
    """One session of one shopper.

    >>> from replay.shop import ShopConfig
    >>> shop = Shop(ShopConfig(items=50, users=5, seed=1))
    >>> visit = Visit(shop, next(shop.arrivals(rate=1.0)))
    >>> ask = next(step for step in visit.steps if isinstance(step, Ask))
    >>> [event.event_type for event in visit.react(ask, ["i1", "i2"], recommendation_id="r")][:1]
    ['impression']
    """

    def __init__(self, shop: Shop, arrival: Arrival) -> None:
        self._shop = shop
        self._arrival = arrival
        self.user = arrival.user
        self.user_id = shop.user_id(arrival.user)
        self.session_id = f"s{arrival.user}-{arrival.number}"
        rng = self._rng(_SCRIPT)
        self.intent = int(rng.choice(shop.config.categories, p=shop.intents(arrival.user, arrival.at)))
        self.steps: tuple[Browse | Ask, ...] = tuple(self._script(rng))

    def react(self, ask: Ask, slate: Sequence[str], *, recommendation_id: str | None = None) -> tuple[EventIn, ...]:
        """Return what the shopper does with a slate: the impression, then clicks and what follows from them.

        The impression reports the whole slate as shown; which slots were examined stays hidden, as in life.

        Raises:
            KeyError: the shop has no such item.
        """
        if not slate:
            return ()
        likes = self._shop.slate_click_probabilities(self.user, self.intent, slate, ask.at)
        chances = self._shop.examination(len(slate)) * likes
        named: dict[str, Any] = {"surface": ask.surface, "recommendation_id": recommendation_id}
        shown = [{"item_id": item, "position": slot} for slot, item in enumerate(slate, start=1)]
        prefix = f"{self._prefix}-r{ask.number}"
        events = [self._event(f"{prefix}-i", "impression", ask.at + 0.5, items=shown, **named)]
        draws = self._rng(_REACTION, ask.number).random((len(slate), 3))  # a row per slot, whatever the length
        for slot, (item_id, chance) in enumerate(zip(slate, chances, strict=True)):
            at = ask.at + 1.0 + _REACTION_S * slot / (len(slate) + 1)
            where = named | {"position": slot + 1, "item_id": item_id}
            for step, act in enumerate(self._acts(draws[slot], chance)):
                events.append(self._event(f"{prefix}-{slot}-{act}", act, at + 0.2 * step, **where))
        return tuple(sorted(events, key=_time))

    def _acts(self, draws: Floats, chance: float) -> list[str]:
        config = self._shop.config
        thresholds = (chance, config.cart_rate, config.purchase_rate)
        done = takewhile(lambda pair: pair[0] < pair[1], zip(draws, thresholds, strict=True))
        return list(_ACTS[: sum(1 for _ in done)])

    @property
    def _prefix(self) -> str:
        return f"shop{self._shop.config.seed}-{self.session_id}"

    def _rng(self, *stream: int) -> np.random.Generator:
        seed = self._shop.config.seed
        return np.random.default_rng([seed, stream[0], self._arrival.user, self._arrival.number, *stream[1:]])

    def _script(self, rng: np.random.Generator) -> Iterator[Browse | Ask]:
        """Yield the home page's slate, then browse and ask in turn."""
        config = self._shop.config
        at = self._arrival.at
        yield self._ask(at, 0, None)
        for number in range(1, 1 + int(rng.poisson(max(0.0, config.asks - 1.0)))):
            at += _PAUSE_S + float(rng.exponential(20.0))
            browse = self._browse(rng, at, number)
            yield browse
            at = _time(browse.events[-1]) + float(rng.uniform(1.0, 5.0))
            yield self._ask(at, number, browse.events[-1].item_id if rng.random() < 0.5 else None)

    def _ask(self, at: float, number: int, item_id: str | None) -> Ask:
        surface = "home" if item_id is None else "item"
        return Ask(at, number, surface, self._shop.config.slate_size, self.user_id, self.session_id, item_id)

    def _browse(self, rng: np.random.Generator, at: float, number: int) -> Browse:
        """Return a search for the category it is after, now and then, and views of items it likes or all like."""
        shop, prefix = self._shop, f"{self._prefix}-b{number}"
        events = []
        if rng.random() < 0.3:
            query = {"query": shop.category_name(self.intent)}
            events.append(self._event(f"{prefix}-s", "search", at, surface="search", properties=query))
        chances = shop.view_shares(self.user, self.intent, at)
        for view in range(1 + int(rng.poisson(max(0.0, shop.config.browse_views - 1.0)))):
            at += float(rng.uniform(2.0, 10.0))
            item_id = f"i{int(rng.choice(len(chances), p=chances))}"
            events.append(self._event(f"{prefix}-{view}", "view", at, surface="category", item_id=item_id))
        return Browse(_time(events[0]), tuple(events))

    def _event(self, event_id: str, event_type: str, at: float, **fields: Any) -> EventIn:
        return EventIn.model_validate(
            {
                "event_id": event_id,
                "event_type": event_type,
                "user_id": self.user_id,
                "session_id": self.session_id,
                "timestamp": at,
            }
            | fields
        )


def _time(event: EventIn) -> float:
    return event.timestamp or 0.0
