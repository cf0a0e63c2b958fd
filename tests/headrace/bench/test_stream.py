from __future__ import annotations

from collections import Counter
from itertools import pairwise

from headrace.bench.stream import Stream


def test_the_same_seed_gives_the_same_events_however_they_are_taken() -> None:
    whole = list(Stream(users=50, items=400, seed=3).events(300))
    stream = Stream(users=50, items=400, seed=3)

    assert [*stream.events(100), *stream.events(200)] == whole
    assert list(Stream(users=50, items=400, seed=4).events(300)) != whole


def test_events_come_in_time_order_in_visits_of_several_events() -> None:
    events = list(Stream(users=2000, items=400, seed=1).events(3000))

    assert all(a.timestamp <= b.timestamp for a, b in pairwise(events))
    assert len({event.event_id for event in events}) == 3000
    assert 3 < 3000 / len({event.user_key for event in events}) < 12


def test_items_are_popular_to_different_degrees_and_all_facets_are_stamped() -> None:
    stream = Stream(users=50, items=400, seed=1)
    events = list(stream.events(5000))
    counts = Counter(event.items[0].item_id for event in events).most_common()

    assert counts[0][1] > 3 * counts[-1][1]
    assert all(e.items[0].brand and e.items[0].categories and e.items[0].price_tier for e in events)
    assert {item for item, _ in counts} <= {item.item_id for item in stream.catalogue(1.75e9)}
