"""Random behaviour events for load: plausible in shape and skew, without shoppers behind them."""

from __future__ import annotations

import random

import msgspec

from schemas.event import Event, EventItem
from schemas.identity import Merge, accept_merge

_TYPES = ("impression", "view", "click", "add_to_cart", "purchase", "dislike")
_SHARES = (10, 50, 28, 7, 4, 1)


def random_event(rng: random.Random, now: float, *, users: int = 2000, items: int = 1000) -> Event:
    """Return an event at about `now` by one of `users` users on one of `items` items.

    Both are skewed: of 5,000 users the busiest causes 1.4 % of the events, of 10,000 items the first draws 4.6 %.

    >>> random_event(random.Random(1), 1.7e9).event_type in _TYPES
    True
    """
    user = int(users * rng.random() ** 2)
    item = int(items * rng.random() ** 3)
    return Event(
        event_id=f"{rng.getrandbits(96):024x}",
        event_type=rng.choices(_TYPES, _SHARES)[0],
        timestamp=now - rng.expovariate(1.0),
        received_at=now,
        user_id=str(user),
        items=[
            EventItem(f"item-{item}", categories=[f"c{item % 23}"], brand=f"b{item % 57}", price_tier=f"p{item % 12}")
        ],
        surface="home",
    )


def as_guest(event: Event) -> Event:
    """Return the event of a user as that of the visitor who has not logged in yet.

    >>> as_guest(random_event(random.Random(1), 1.7e9)).user_key
    'vguest-36'
    """
    return msgspec.structs.replace(event, user_id=None, visitor_id=f"guest-{event.user_id}")


def random_merge(rng: random.Random, now: float, *, users: int = 2000) -> Merge:
    """Return the merge, at `now`, by which the visitor of one of `users` users logs in; any may come again.

    >>> random_merge(random.Random(1), 1.7e9).visitor_key
    'vguest-36'
    """
    user = str(int(users * rng.random() ** 2))
    return accept_merge(user_id=user, visitor_id=f"guest-{user}", event_id=f"{rng.getrandbits(96):024x}", now=now)
