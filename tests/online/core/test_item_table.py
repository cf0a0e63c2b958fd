from __future__ import annotations

import numpy as np
import pytest

from online.core.decay import Decay
from online.core.item_stats import ItemStats, count_item
from online.core.item_table import ItemTable
from online.core.record import TYPE_CODES
from online.core.update import Update
from schemas.item import Item

T0 = 1_700_000_000.0


def item(item_id: str, **fields: object) -> Item:
    return Item(item_id=item_id, updated_at=T0, created_at=T0, **fields)  # type: ignore[arg-type]


def stats(*events: tuple[str, float, float]) -> ItemStats:
    decay, found = Decay(), ItemStats()
    for event_type, weight, at in events:
        landmark = decay.landmark(T0 + at)
        count_item(
            found,
            type_code=TYPE_CODES[event_type],
            weight=weight,
            time=T0 + at,
            factors=decay.at(T0 + at, landmark),
            landmark=landmark,
            decay=decay,
            received_at=T0 + at,
        )
    return found


def test_popularity_is_the_sum_over_partitions_as_it_counts_now() -> None:
    table = ItemTable(partitions=2)
    table.apply(Update(0, 1, {"a": stats(("click", 1.0, 0.0))}, []))
    table.apply(Update(1, 1, {"a": stats(("click", 1.0, 0.0), ("purchase", 5.0, 0.0))}, []))

    assert table.popularity(T0)[0] == pytest.approx([7.0, 7.0, 7.0])
    assert table.popularity(T0 + 3 * 86_400)[0][1] == pytest.approx(3.5)


def test_a_repeated_update_changes_nothing() -> None:
    table = ItemTable(partitions=1)
    update = Update(0, 1, {"a": stats(("click", 1.0, 0.0))}, [])

    assert table.apply(update)
    assert not table.apply(update)
    assert table.popularity(T0)[0][0] == pytest.approx(1.0)


def test_updates_from_either_side_of_a_landmark_add_up() -> None:
    grid = Decay().grid_s
    table = ItemTable(partitions=2)
    table.apply(Update(0, 1, {"a": stats(("click", 1.0, 0.0))}, []))
    table.apply(Update(1, 1, {"a": stats(("click", 1.0, grid))}, []))
    late = ItemTable(partitions=2)
    late.apply(Update(1, 1, {"a": stats(("click", 1.0, grid))}, []))
    late.apply(Update(0, 1, {"a": stats(("click", 1.0, 0.0))}, []))

    expected = [1.0 + 0.5 ** (grid / h) for h in Decay().half_lives]
    assert table.popularity(T0 + grid)[0] == pytest.approx(expected)
    assert late.popularity(T0 + grid)[0] == pytest.approx(expected)


def test_rows_survive_growth() -> None:
    table = ItemTable(partitions=1)
    for i in range(3000):
        table.put(item(f"i{i}", brand=f"b{i}", categories=["c"]))

    assert len(table) == 3000
    assert table.brands.names[table.brand[2999]] == "b2999"
    assert table.is_eligible(np.arange(3000, dtype=np.int32), T0).all()


def test_unknown_unavailable_deleted_and_expired_items_are_not_eligible() -> None:
    table = ItemTable(partitions=1)
    table.put(item("ok"))
    table.put(item("off", available=False))
    table.put(item("gone", deleted=True))
    table.put(item("past", available_to=T0 - 1))
    table.put(item("soon", available_from=T0 + 10))
    table.apply(Update(0, 1, {"never described": stats(("click", 1.0, 0.0))}, []))

    shown = table.is_eligible(np.arange(len(table), dtype=np.int32), T0)

    assert [table.ids.names[i] for i in np.flatnonzero(shown)] == ["ok"]


def test_what_stands_is_popular_for_days_and_has_been_for_long_as_sums_over_partitions() -> None:
    table = ItemTable(partitions=2)
    for partition, (days, total) in enumerate([(2.0, 10.0), (1.0, 5.0)]):
        table.apply(Update(partition, 1, {"a": ItemStats(0.0, [0.0, days, 0.0], {}, T0, T0, total=total)}, []))

    now = table.landmark + 3 * 86_400
    assert table.standing(np.array([0], np.int32), now) == pytest.approx([np.log1p(1.5) + np.log1p(15.0)])
