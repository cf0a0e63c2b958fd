from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest

from replay.shop import Arrival, Shop, ShopConfig
from replay.shopper import Ask, Browse, Visit
from schemas.event import EventIn

SHOP = Shop(ShopConfig())


def visits(n: int) -> list[Visit]:
    return [Visit(SHOP, arrival) for arrival in islice(SHOP.arrivals(1.0), n)]


def asks(visit: Visit) -> list[Ask]:
    return [step for step in visit.steps if isinstance(step, Ask)]


def trace(visit: Visit) -> list[EventIn]:
    """Return all events of a visit that is always shown the oracle's slate."""
    events: list[EventIn] = []
    for step in visit.steps:
        if isinstance(step, Browse):
            events += step.events
        else:
            slate = SHOP.oracle_slate(visit.user, visit.intent, step.n)
            events += visit.react(step, slate, recommendation_id=f"r{step.number}")
    return events


def test_a_visit_is_the_same_whatever_other_visits_do_between_its_steps() -> None:
    alone = [trace(visit) for visit in visits(20)]

    backwards = [trace(visit) for visit in reversed(visits(20))]

    assert backwards[::-1] == alone


def test_event_ids_of_all_visits_are_distinct_and_repeat_with_the_shop() -> None:
    ids = [event.event_id for visit in visits(200) for event in trace(visit)]

    assert len(set(ids)) == len(ids)
    assert ids == [event.event_id for visit in visits(200) for event in trace(visit)]


def test_the_events_of_a_visit_are_in_time_order_and_name_user_and_session() -> None:
    for visit in visits(50):
        events = trace(visit)
        times = [event.timestamp or 0.0 for event in events]
        assert all(a <= b for a, b in pairwise(times))
        assert {(e.user_id, e.session_id) for e in events} == {(visit.user_id, visit.session_id)}


def test_a_visit_opens_on_the_home_page_and_then_browses_before_it_asks_again() -> None:
    found = visits(300)

    assert all(isinstance(visit.steps[0], Ask) and visit.steps[0].surface == "home" for visit in found)
    for visit in found:
        kinds = [type(step) for step in visit.steps[1:]]
        assert kinds == [Browse, Ask] * (len(kinds) // 2)
    assert np.mean([len(asks(visit)) for visit in found]) == pytest.approx(SHOP.config.asks, rel=0.1)
    surfaces = Counter(ask.surface for visit in found for ask in asks(visit))
    assert surfaces["item"] > 100
    assert all((ask.item_id is None) == (ask.surface == "home") for visit in found for ask in asks(visit))


def test_browsing_follows_the_intent_of_the_session() -> None:
    wanted = viewed = 0
    for visit in visits(300):
        for step in visit.steps:
            if isinstance(step, Browse):
                items = [int((e.item_id or "i")[1:]) for e in step.events if e.event_type == "view"]
                wanted += sum(int(SHOP.item_category[item]) == visit.intent for item in items)
                viewed += len(items)

    assert 0.7 < wanted / viewed < 0.9


def test_clicks_come_as_often_as_the_truth_says() -> None:
    user, intent, slate = 3, 4, SHOP.oracle_slate(3, 4, 5)
    clicks = Counter[int]()
    n = 3000
    for number in range(n):
        visit = Visit(SHOP, Arrival(SHOP.config.start, user, number))
        visit.intent = intent
        for event in visit.react(asks(visit)[0], slate):
            if event.event_type == "click":
                clicks[event.position or 0] += 1

    expected = SHOP.examination(5) * SHOP.slate_click_probabilities(user, intent, slate)
    observed = np.array([clicks[slot] for slot in range(1, 6)]) / n
    assert np.abs(observed - expected).max() < 4 * np.sqrt(0.25 / n)


def test_what_follows_a_click_names_the_slate_and_comes_in_order() -> None:
    events = [event for visit in visits(400) for event in trace(visit) if event.recommendation_id]

    types = Counter(event.event_type for event in events)
    assert types["click"] > types["add_to_cart"] > types["purchase"] > 0
    assert types["add_to_cart"] / types["click"] == pytest.approx(SHOP.config.cart_rate, rel=0.25)
    clicked = {(e.session_id, e.recommendation_id, e.position) for e in events if e.event_type == "click"}
    bought = {(e.session_id, e.recommendation_id, e.position) for e in events if e.event_type == "purchase"}
    assert bought < clicked


def test_the_impression_reports_the_slate_as_it_was_shown() -> None:
    visit = visits(1)[0]

    impression = visit.react(asks(visit)[0], ["i7", "i3"], recommendation_id="r")[0]

    assert impression.event_type == "impression"
    assert [(item.item_id, item.position) for item in impression.items] == [("i7", 1), ("i3", 2)]
    assert (impression.recommendation_id, impression.surface) == ("r", "home")


def test_the_answer_to_a_slot_does_not_depend_on_what_other_slots_show() -> None:
    for visit in visits(100):
        ask = asks(visit)[0]
        slate = SHOP.oracle_slate(visit.user, visit.intent, 6)
        others = [slate[0], *(f"i{i}" for i in range(390, 395))]

        def first(shown: list[str], visit: Visit = visit, ask: Ask = ask) -> list[str]:
            return [e.event_type for e in visit.react(ask, shown) if e.position == 1]

        assert first(slate) == first(others) == first(slate[:1])


def test_an_empty_slate_is_answered_by_nothing() -> None:
    visit = visits(1)[0]

    assert visit.react(asks(visit)[0], []) == ()
