"""Columns of the whole catalogue: of fields that requests have asked for, and of what the item table holds anyway.

A request whose condition needs a field that is not kept reads it from the documents of its candidates, and leaves word;
the thread that changes the catalogue then builds the column and keeps it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.item import Item

from ..decay import DAY_S
from ..item_table import ItemTable, Vocabulary
from .column import Column, Floats, Strings, Truth, column, encoded, values_of
from .syntax import Kind

MOST_COLUMNS = 64
CHUNK = 16_384  # items at once

Key = tuple[str, Kind]
Rows = NDArray[np.int32]


class KeptColumns:
    """Encoded columns by field and kind, one value for each row. One thread calls `build` and `put`."""

    def __init__(self) -> None:
        self._arrays: dict[Key, NDArray[Any]] = {}
        self._vocabularies: dict[Key, Vocabulary] = {}
        self._wanted: set[Key] = set()

    def gathered(self, key: Key, rows: Rows) -> Column | None:
        """Return a column of rows, None when it is not kept, which it will be."""
        array = self._arrays.get(key)
        if array is None:
            if len(self._arrays) + len(self._wanted) < MOST_COLUMNS:
                self._wanted.add(key)
            return None
        if len(rows) and int(rows.max()) >= len(array):  # of an item that is new at this moment
            return None
        return column(array[rows], key[1], self._vocabularies[key])

    def build(self, table: ItemTable) -> None:
        """Build the columns that were asked for."""
        wanted, self._wanted = self._wanted, set()
        for key in wanted - self._arrays.keys():
            vocabulary = self._vocabularies[key] = Vocabulary()
            array = np.repeat(encoded([None], key[1], vocabulary), len(table.brand))
            documents = list(table.documents.values())
            for start in range(0, len(documents), CHUNK):
                some = documents[start : start + CHUNK]
                array[rows_of(some, table)] = encoded(values_of(some, key[0]), key[1], vocabulary)
            self._arrays[key] = array

    def put(self, items: Sequence[Item], rows: Rows, capacity: int) -> None:
        """Set what documents say."""
        for key, array in self._arrays.items():
            vocabulary = self._vocabularies[key]
            if (more := capacity - len(array)) > 0:
                array = np.concatenate([array, np.repeat(encoded([None], key[1], vocabulary), more)])
            array[rows] = encoded(values_of(items, key[0]), key[1], vocabulary)
            self._arrays[key] = array


class ItemColumns:
    """Columns of some rows at a moment, each read once: what moves by itself, what is kept, else what documents say."""

    def __init__(self, table: ItemTable, rows: Rows, now: float, kept: KeptColumns) -> None:
        self._table, self._rows, self._now, self._kept = table, rows, now, kept
        self._read: dict[Key, Column] = {}

    def __call__(self, name: str, kind: Kind) -> Column:
        """Return a column, as `DocumentColumns` does."""
        key = (name, kind)
        if key not in self._read:
            self._read[key] = self._column(key)
        return self._read[key]

    def _column(self, key: Key) -> Column:
        table, rows = self._table, self._rows
        match key:
            case ("item.age_days", kind):
                created = table.created[rows]
                return _moving(np.where(np.isfinite(created), (self._now - created) / DAY_S, np.nan), kind)
            case ("item.popularity", kind):
                return _moving(table.standing(rows, self._now), kind)
            case ("item.item_id", kind):
                return Strings(rows, table.ids) if kind == "string" else Truth(rows >= 0, rows < 0)
            case ("item.brand", "string"):
                return Strings(table.brand[rows], table.brands)
        kept = self._kept.gathered(key, rows)
        return self._of_documents(key) if kept is None else kept

    def _of_documents(self, key: Key) -> Column:
        names, documents, vocabulary = self._table.ids.names, self._table.documents, Vocabulary()
        own = [documents.get(names[row]) for row in self._rows.tolist()]
        return column(encoded(values_of(own, key[0]), key[1], vocabulary), key[1], vocabulary)


def rows_of(items: Sequence[Item], table: ItemTable) -> Rows:
    """Return the rows of documents, adding those that are new."""
    return np.array([table.row(item.item_id) for item in items], np.int32)


def _moving(values: Floats, kind: Kind) -> Column:
    return values if kind == "number" else Truth(~np.isnan(values), np.isnan(values))
