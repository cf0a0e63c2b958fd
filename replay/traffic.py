"""Random behaviour events for load: plausible in shape and skew, without shoppers behind them."""

from __future__ import annotations

import random

from schemas.event import Event, EventItem

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
