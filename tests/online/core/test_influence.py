"""Nobody pushes an item alone: what a user adds to its popularity stays below the bound, whatever they send."""

from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.core.item_stats import ItemStats, decode_item_stats
from online.core.partition import EVENTS, ITEM, PartitionFold
from online.core.record import TYPE_CODES
from online.core.step import FoldConfig
from online.ports import Batch, Message
from schemas.event import WEIGHTS, Event, EventItem, encode_event

CONFIG = FoldConfig()
DECAY, BOUND = CONFIG.decay, CONFIG.influence
T0 = 1_700_000_000.0


def event(kind: str, at: float, item: str = "a", user: str = "1") -> Event:
    return Event(
        event_id=f"{kind} {at} {item} {user}", event_type=kind, timestamp=T0 + at, received_at=T0 + at, user_id=user,
        items=[EventItem(item)],
    )  # fmt: skip


def stats(events: list[Event], config: FoldConfig = CONFIG) -> dict[str, ItemStats]:
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys), config)
    messages = [Message(f"{i:020d}", encode_event(one)) for i, one in enumerate(events)]
    return {k: decode_item_stats(v) for k, v in fold.fold(Batch(EVENTS, 0, messages), 1).writes[ITEM].items() if v}


def popularity(events: list[Event], at: float, config: FoldConfig = CONFIG) -> list[float]:
    found = stats(events, config)["a"]
    return DECAY.now(found.popularity, T0 + at, found.landmark)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 5e6),
            st.sampled_from(["click", "purchase", "add_to_cart", "dislike", "hide", "remove_from_cart"]),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_a_users_part_never_exceeds_the_bound_nor_what_they_did(drawn: list[tuple[float, str]]) -> None:
    events = [event(kind, at) for at, kind in sorted(drawn)]
    for number, one in enumerate(events):
        one.event_id = str(number)

    has_been_bounded = [False] * 3
    for n in range(1, len(events) + 1):
        now = events[n - 1].timestamp
        for i, (part, half_life) in enumerate(zip(popularity(events[:n], now - T0), DECAY.half_lives, strict=True)):
            done = sum(max(WEIGHTS[e.event_type], 0.0) * 0.5 ** ((now - e.timestamp) / half_life) for e in events[:n])
            assert part <= min(BOUND, done) * (1 + 1e-9)
            has_been_bounded[i] |= done > BOUND
            if not has_been_bounded[i]:
                assert part == pytest.approx(done, rel=1e-9)


def test_taking_it_back_and_giving_it_again_adds_no_more_than_once() -> None:
    events = [event(kind, 2.0 * n + i) for n in range(40) for i, kind in enumerate(("like", "dislike"))]

    assert popularity(events, 80.0) == pytest.approx([BOUND] * 3, rel=1e-2)


def test_many_users_together_are_not_bounded() -> None:
    events = [event("click", float(n), user=str(n)) for n in range(100)]

    assert popularity(events, 100.0) == pytest.approx([100.0] * 3, rel=1e-2)


def test_clicks_and_impressions_beyond_the_bound_count_no_more_so_that_their_rate_stays_theirs() -> None:
    pairs = [(kind, 60.0 * n) for n in range(200) for kind in ("impression", "click")]

    found = stats([event(kind, at) for kind, at in pairs])["a"]

    fading = DECAY.fading(T0 + 12_000.0, found.landmark)[-1]
    shown, clicked = (found.counts[TYPE_CODES[kind]] * fading for kind in ("impression", "click"))
    assert clicked / shown == pytest.approx(1.0, rel=0.06)
    assert shown < 30


def test_an_event_that_crosses_the_bound_counts_in_part() -> None:
    events = [event("purchase", 0.0), event("purchase", 0.0, item="b"), *(event("purchase", float(n)) for n in (1, 2))]
    config = FoldConfig(influence=12.0)

    assert popularity(events, 2.0, config) == pytest.approx([12.0] * 3, rel=1e-3)


def rank_errors(config: FoldConfig) -> dict[str, float]:
    """Return how far power users move ranks of popularity: of the items they push, and of all others on average.

    Each of 3 power users clicks one of the least popular items 400 times in a day; 500 others click 4,000 times, by
    the inverse root of an item's rank, on 60 items.
    """
    rng = random.Random(5)
    items = [f"i{n:02d}" for n in range(60)]
    chosen = rng.choices(items, [(1 + n) ** -0.5 for n in range(60)], k=4000)
    honest = [event("click", rng.uniform(0.0, 86_400.0), item, user=f"u{n % 500}") for n, item in enumerate(chosen)]
    pushed = items[-3:]
    power = [event("click", 216.0 * n, item, user=f"p{item}") for item in pushed for n in range(400)]
    for number, one in enumerate((*honest, *power)):
        one.event_id = str(number)

    def ranks(events: list[Event], config: FoldConfig) -> dict[str, int]:
        found = stats(sorted(events, key=lambda e: e.timestamp), config)
        return {item: n for n, item in enumerate(sorted(found, key=lambda i: (-found[i].popularity[1], i)))}

    true, seen = ranks(honest, FoldConfig(influence=inf)), ranks(honest + power, config)
    others = [item for item in true if item not in pushed]
    return {
        "pushed": sum(abs(true[i] - seen[i]) for i in pushed) / len(pushed),
        "others": sum(abs(true[i] - seen[i]) for i in others) / len(others),
    }


def test_power_users_move_the_ranks_of_popularity_far_less_than_without_the_bound() -> None:
    bounded, unbounded = rank_errors(FoldConfig()), rank_errors(FoldConfig(influence=inf))

    assert bounded["pushed"] < 0.5 * unbounded["pushed"], (bounded, unbounded)
    assert bounded["others"] < 0.5 * unbounded["others"], (bounded, unbounded)
