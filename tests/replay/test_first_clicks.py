"""A new user's first clicks in the seeded shop, through the whole system in this process."""

from __future__ import annotations

from itertools import islice

import pytest

from online.adapters.exact_index import ExactIndex
from online.core.policy_document import POPULARITY_POLICY
from replay.local_system import LocalSystem
from replay.shop import Shop, ShopConfig
from replay.shopper import Browse, Visit
from schemas.event import EventIn
from schemas.slate import RecommendIn

N = 20


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop(ShopConfig(items=240, users=60, seed=5))


@pytest.fixture(scope="module")
def system(shop: Shop) -> LocalSystem:
    """What the shop's other users have browsed."""
    system = LocalSystem(index=ExactIndex, seed=5)
    system.put_items(shop.items)
    events = [
        event
        for arrival in islice(shop.arrivals(rate=0.02), 250)
        for step in Visit(shop, arrival).steps
        if isinstance(step, Browse)
        for event in step.events
    ]
    system.post(sorted(events, key=lambda event: event.timestamp or 0.0))
    return system


@pytest.mark.parametrize("category", [3, 7, 11])
def test_each_of_the_first_three_clicks_moves_the_slate_to_the_category_and_away_from_popularity(
    shop: Shop, system: LocalSystem, category: int
) -> None:
    name, user = shop.category_name(category), f"newcomer-{category}"
    liked = [item.item_id or "" for item in shop.items if name in item.categories]
    now = shop.config.start + 30 * 86_400.0
    popular = set(system.rank(RecommendIn(user_id="x", n=N, timestamp=now, policy=POPULARITY_POLICY)).item_ids)
    overlaps, shares, rungs = [], [], []
    for clicks in range(4):
        ranked = system.rank(RecommendIn(user_id=user, n=N, timestamp=now + 60.0 * clicks))
        overlaps.append(len(popular.intersection(ranked.item_ids)) / N)
        shares.append(sum(item in liked for item in ranked.item_ids) / N)
        rungs.append(ranked.rung)
        click = EventIn(event_type="click", user_id=user, item_id=liked[clicks], timestamp=now + 60.0 * clicks + 1.0)
        system.post([click])

    assert rungs == ["popularity", "personal", "personal", "personal"]
    assert overlaps[0] >= 0.6
    assert overlaps[1] < overlaps[0]
    assert overlaps[3] < overlaps[0] - 0.2
    assert shares[1] > shares[0]
    assert shares[3] > shares[0] + 0.2
