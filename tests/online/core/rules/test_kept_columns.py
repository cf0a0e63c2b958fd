from __future__ import annotations

from typing import Any

import numpy as np

from online.core.item_table import GROWTH, ItemTable
from online.core.rules.kept_columns import MOST_COLUMNS, KeptColumns
from schemas.item import Item

KEY: Any = ("item.attributes.size", "number")


def item(n: int, size: Any) -> Item:
    return Item(item_id=f"i{n}", updated_at=0.0, created_at=0.0, attributes={"size": size})


def sized(n: int) -> ItemTable:
    table = ItemTable(partitions=1)
    for i in range(n):
        table.put(item(i, i))
    return table


def put(kept: KeptColumns, table: ItemTable, *items: Item) -> None:
    rows = np.array([table.row(one.item_id) for one in items], np.int32)
    kept.put(items, rows, len(table.brand))
    for one in items:
        table.put(one)


def test_a_column_is_kept_once_a_request_has_asked_for_it() -> None:
    kept, table, rows = KeptColumns(), sized(5), np.array([3, 1], np.int32)

    assert kept.gathered(KEY, rows) is None
    kept.build(table)
    assert kept.gathered(KEY, rows).tolist() == [3.0, 1.0]  # type: ignore[union-attr]


def test_a_kept_column_follows_the_documents() -> None:
    kept, table = KeptColumns(), sized(GROWTH)
    kept.gathered(KEY, np.empty(0, np.int32))
    kept.build(table)
    put(kept, table, item(0, "none"), item(2, 99), item(GROWTH, 7))

    values = kept.gathered(KEY, np.array([0, 1, 2, GROWTH], np.int32))
    assert np.array_equal(values, [np.nan, 1.0, 99.0, 7.0], equal_nan=True)  # type: ignore[arg-type]


def test_a_row_that_is_newer_than_the_column_is_read_from_its_document() -> None:
    kept, table = KeptColumns(), sized(3)
    kept.gathered(KEY, np.empty(0, np.int32))
    kept.build(table)

    assert kept.gathered(KEY, np.array([len(table.brand)], np.int32)) is None


def test_requests_cannot_ask_for_columns_without_end() -> None:
    kept, table, rows = KeptColumns(), sized(3), np.zeros(1, np.int32)
    keys: list[Any] = [(f"item.attributes.a{n}", "string") for n in range(2 * MOST_COLUMNS)]
    for key in keys:
        kept.gathered(key, rows)
    kept.build(table)

    assert sum(kept.gathered(key, rows) is not None for key in keys) == MOST_COLUMNS
