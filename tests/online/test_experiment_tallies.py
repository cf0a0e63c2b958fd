from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from example_slate import example_slate

from flows.record import create_tables
from online.connect import open_warehouse
from online.core.holdout import EVERYBODY, HOLDOUT
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.core.ratio_mean import Sums
from online.core.rows import blocks
from online.experiment_tallies import Counted, count_tallies
from online.ports import Batch, Message, Warehouse
from schemas.event import Event, EventItem, encode_event
from schemas.identity import accept_merge, encode_identity
from schemas.slate import encode_slate

NUMBER, SHOPS = count(), count()
DAY_S = 86_400.0


class Shop:
    """An experiment of its own in a warehouse that other tests share: nobody else has its id, users and days."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse, self.name = warehouse, uuid.uuid4().hex
        self.start = 2.4e9 + 30 * next(SHOPS) * DAY_S

    def insert(self, topic: str, payload: bytes) -> None:
        position = f"{next(NUMBER):020d}"
        for block in blocks(Batch(topic, 0, [Message(position, payload)])):
            self.warehouse.insert(block.table.name, block.table.columns, block.rows, token=f"{self.name} {block.token}")

    def slate(self, rid: str, unit: str, variant: str, at: float = 0.0, items: str = "abc", **said: Any) -> None:
        """Show a slate to a unit, named without its prefix `u` or `v`."""
        fields = {
            "recommendation_id": f"{self.name}-{rid}",
            "user_key": f"{unit[0]}{self.name}{unit[1:]}",
            "time": self.start + at,
            "served_at": self.start + at,
            "candidates": list(items),
            "slots": list(range(len(items))),
            "propensities": [1.0] * len(items),
            "experiment_id": self.name,
            "variant": variant,
        }
        self.insert(SLATES, encode_slate(example_slate(**{**fields, **said})))

    def act(self, kind: str, shown: str, unit: str, at: float, rid: str | None = None, **said: Any) -> None:
        who = {"u": "user_id", "v": "visitor_id"}[unit[0]]
        prices = said.pop("prices", {})
        fields: dict[str, Any] = {
            "event_id": f"{kind}{shown}{at}",
            "event_type": kind,
            "timestamp": self.start + at,
            "received_at": self.start + at,
            "items": [EventItem(item, price=prices.get(item)) for item in shown],
            "recommendation_id": None if rid is None else f"{self.name}-{rid}",
            who: f"{self.name}{unit[1:]}",
        }
        self.insert(EVENTS, encode_event(Event(**{**fields, **said})))

    def merge(self, visitor: str, user: str, at: float) -> None:
        names = {"user_id": f"{self.name}{user}", "visitor_id": f"{self.name}{visitor}"}
        self.insert(EVENTS, encode_identity(accept_merge(**names, event_id="m", now=self.start + at)))

    def counted(self, *metrics: str, experiment_id: str = "") -> Counted:
        variants = (HOLDOUT, EVERYBODY) if experiment_id else ("now", "new")
        since, until = self.start, self.start + 29 * DAY_S
        return count_tallies(self.warehouse, experiment_id or self.name, variants, metrics, since=since, until=until)


@pytest.fixture(scope="module")
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    warehouse = open_warehouse(warehouse_url)
    create_tables(warehouse)
    yield warehouse
    warehouse.close()


@pytest.fixture
def shop(warehouse: Warehouse) -> Shop:
    return Shop(warehouse)


def values(counted: Counted, metric: str) -> dict[str, tuple[float, float]]:
    """Return numerator and denominator by variant."""
    return {name: (tally.sums[metric].y, tally.sums[metric].n) for name, tally in counted.tallies.items()}


def test_slates_and_what_came_of_them_are_summed_over_units(shop: Shop) -> None:
    for n in range(3):
        shop.slate(f"a{n}", "u1", "now", at=n)
    shop.slate("b", "u2", "now")
    shop.slate("c", "u3", "new", items="ab")
    shop.act("click", "a", "u1", 10.0, rid="a0")
    shop.act("click", "b", "u1", 11.0, rid="a0")
    shop.act("click", "a", "u1", 12.0, rid="a2")
    shop.act("click", "b", "u3", 13.0, rid="c")

    counted = shop.counted("click_rate", "clicks_per_slot")

    assert {name: (t.units, t.slates) for name, t in counted.tallies.items()} == {"now": (2, 4), "new": (1, 1)}
    now = counted.tallies["now"].sums
    assert now["click_rate"] == Sums(units=2, n=4, y=2, nn=10, ny=6, yy=4)
    assert now["clicks_per_slot"] == Sums(units=2, n=12, y=3, nn=90, ny=27, yy=9)
    assert values(counted, "clicks_per_slot")["new"] == (1, 2)
    assert counted.excluded == {}


def test_what_is_sent_or_shipped_twice_counts_once(shop: Shop) -> None:
    for _ in range(2):
        shop.slate("a", "u1", "now")
        shop.act("purchase", "a", "u1", 10.0, rid="a", prices={"a": 30.0})

    counted = shop.counted("purchase_rate", "revenue_per_slate")

    assert values(counted, "purchase_rate") == {"now": (1, 1)}
    assert values(counted, "revenue_per_slate") == {"now": (30.0, 1)}


@pytest.mark.parametrize(
    ("acts", "credited"),
    [
        ([("click", "a", 10.0, "first")], "first"),
        ([("click", "a", 110.0, "first")], "first"),
        ([("click", "a", 110.0, None)], "second"),
        ([("click", "z", 110.0, None)], ""),
        ([("click", "z", 110.0, "first")], ""),
        ([("click", "a", 100.0 + 1801.0, None)], ""),
        ([("click", "a", 100.0 + 1801.0, "second")], ""),
    ],
)
def test_a_click_counts_for_the_slate_that_it_names_or_the_latest_that_shows_the_item(
    shop: Shop, acts: list[tuple[str, str, float, str | None]], credited: str
) -> None:
    shop.slate("first", "u1", "now")
    shop.slate("second", "u2", "new", at=50.0)
    shop.slate("second", "u1", "now", at=100.0, recommendation_id=f"{shop.name}-second1", surface="cart")
    for kind, item, at, rid in acts:
        shop.act(kind, item, "u1", at, rid=rid if rid != "second" else "second1")

    clicks, slates = values(shop.counted("click_rate"), "click_rate")["now"]
    assert (clicks, slates) == (1.0 if credited else 0.0, 2.0)


def test_a_slate_of_no_experiment_takes_the_clicks_that_are_its_own(shop: Shop) -> None:
    shop.slate("a", "u1", "now")
    shop.slate("b", "u1", "", at=60.0, experiment_id="")
    shop.act("click", "a", "u1", 70.0)

    assert values(shop.counted("click_rate"), "click_rate") == {"now": (0, 1)}


def test_a_purchase_that_names_no_slate_follows_the_click_for_a_week(shop: Shop) -> None:
    shop.slate("a", "u1", "now")
    shop.act("click", "a", "u1", 10.0, rid="a")
    shop.act("purchase", "ax", "u1", 2 * DAY_S, prices={"a": 20.0, "x": 5.0})
    shop.slate("b", "u2", "new")
    shop.act("purchase", "a", "u2", 2 * DAY_S)
    shop.act("click", "b", "u2", 10.0, rid="b")
    shop.act("purchase", "b", "u2", 8 * DAY_S)

    counted = shop.counted("revenue_per_unit", "purchase_rate")

    assert values(counted, "revenue_per_unit") == {"now": (20.0, 1), "new": (0.0, 1)}
    assert values(counted, "purchase_rate") == {"now": (1, 1), "new": (0, 1)}


def test_revenue_goes_by_price_and_quantity_or_by_the_value_of_the_event(shop: Shop) -> None:
    shop.slate("a", "u1", "now")
    shop.act("purchase", "", "u1", 10.0, rid="a", items=[EventItem("a", price=2.5, quantity=4.0), EventItem("b")])
    shop.act("purchase", "bx", "u1", 20.0, rid="a", value=8.0)

    assert values(shop.counted("revenue_per_slate"), "revenue_per_slate") == {"now": (14.0, 1)}


def test_units_that_cannot_be_compared_are_left_out_and_counted_by_reason(shop: Shop) -> None:
    shop.slate("a", "u1", "now")
    shop.slate("b", "u2", "now")
    shop.slate("c", "u2", "new", at=10.0)
    shop.slate("d", "v3", "now")
    shop.slate("e", "u3", "new", at=20.0)
    shop.slate("f", "v4", "now")
    shop.slate("g", "u4", "now", at=20.0)
    shop.merge("3", "3", at=15.0)
    shop.merge("4", "4", at=15.0)
    shop.slate("h", "u5", "new", robot=True)
    shop.slate("i", "u6", "gone")

    counted = shop.counted("click_rate")

    assert {name: t.units for name, t in counted.tallies.items()} == {"now": 1}
    assert counted.excluded == {"two_variants": 2, "two_identities": 1, "robots": 1, "other_variants": 1}


def test_what_a_visitor_was_shown_is_credited_with_what_the_user_does_after_the_login(shop: Shop) -> None:
    shop.slate("a", "v1", "now")
    shop.act("click", "a", "v1", 10.0)
    shop.merge("1", "1", at=20.0)
    shop.act("purchase", "a", "u1", 30.0, prices={"a": 9.0})

    counted = shop.counted("click_rate", "revenue_per_unit")

    assert values(counted, "click_rate") == {"now": (1, 1)}
    assert values(counted, "revenue_per_unit") == {"now": (9.0, 1)}


def test_everybody_is_compared_with_the_holdout_but_for_requests_that_named_their_policy(shop: Shop) -> None:
    shop.slate("a", "u1", HOLDOUT, experiment_id=HOLDOUT, held_out=True)
    shop.slate("b", "u2", "now")
    shop.slate("c", "u3", "", experiment_id="")
    shop.slate("d", "u4", "", experiment_id="", request={"policy": "greedy-1"})
    shop.act("click", "a", "u3", 5.0, rid="c")

    counted = shop.counted("click_rate", experiment_id=HOLDOUT)

    assert values(counted, "click_rate") == {HOLDOUT: (0, 1), EVERYBODY: (1, 2)}


def test_coverage_counts_the_items_that_variants_show(shop: Shop) -> None:
    shop.slate("a", "u1", "now", items="abc")
    shop.slate("b", "u2", "now", items="abd")
    shop.slate("c", "u3", "new", items="ef")

    counted = shop.counted("click_rate", "coverage")

    assert {name: t.distinct_items for name, t in counted.tallies.items()} == {"now": 4, "new": 2}
    assert counted.distinct_items == 6


def test_of_an_experiment_that_nobody_has_seen_nothing_is_counted(shop: Shop) -> None:
    assert shop.counted("click_rate", "coverage") == Counted({}, {}, 0)
