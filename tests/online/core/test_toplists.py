from __future__ import annotations

import numpy as np

from online.core.decay import Decay
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.toplists import Toplists
from online.core.update import Update
from schemas.item import Item

T0 = Decay().landmark(1_700_000_000.0)


def item(item_id: str, **fields: object) -> Item:
    return Item(item_id=item_id, updated_at=T0, created_at=T0, **fields)  # type: ignore[arg-type]


def test_toplists_rank_by_decayed_popularity_and_group_by_facet() -> None:
    table = ItemTable(partitions=1)
    for name, category in [("a", "x"), ("b", "x"), ("c", "y"), ("hidden", "x")]:
        table.put(item(name, categories=[category], brand="m", available=name != "hidden"))
    clicks = {"a": 1.0, "b": 3.0, "c": 2.0, "hidden": 9.0}
    table.apply(Update(0, 1, {k: ItemStats(T0, [w] * 3, {}, T0, T0) for k, w in clicks.items()}, []))

    tops = Toplists(table, T0)

    def names(rows: object) -> list[str]:
        return [table.ids.names[row] for row in rows]  # type: ignore[attr-defined]

    assert names(tops.popular.everybody) == ["b", "c", "a"]
    assert names(tops.popular.of(0, table.categories.codes["x"])) == ["b", "a"]
    assert names(tops.popular.of(1, table.brands.codes["m"])) == ["b", "c", "a"]


def test_segments_hold_items_of_any_of_their_categories_and_of_a_price_tier() -> None:
    table = ItemTable(partitions=1)
    table.put(item("a", categories=["x", "y"], price=9.0))
    table.put(item("b", categories=["y"], price=9.0))
    table.apply(Update(0, 1, {name: ItemStats(T0, [2.0] * 3, {}, T0, T0) for name in "ab"}, []))

    popular = Toplists(table, T0).popular

    categories, brands, tiers = (
        [popular.of(facet, code).tolist() for code in range(groups)]
        for facet, groups in enumerate(np.diff(popular.starts))
    )
    assert categories == [[0], [0, 1]]
    assert tiers == [[0, 1]]
    assert brands == []


def test_what_was_popular_for_long_counts_beside_what_is_popular_for_days() -> None:
    table = ItemTable(partitions=1)
    for name in "abc":
        table.put(item(name))
    popularity = {"a": (0.0, 40.0), "b": (9.0, 20.0), "c": (1.0, 1.0)}
    stats = {i: ItemStats(T0, [0.0, days, 0.0], {}, T0, T0, total=total) for i, (days, total) in popularity.items()}
    table.apply(Update(0, 1, stats, []))

    assert Toplists(table, T0).popular.everybody.tolist() == [1, 0, 2]
