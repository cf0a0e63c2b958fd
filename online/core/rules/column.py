"""Columns: one field of many items, in the form that a comparison wants it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.item import Item

from ..decay import DAY_S
from ..item_table import ItemTable
from .syntax import OPEN, Kind
from .vocabulary import ITEM

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Truth(NamedTuple):
    """What is true, and what is false, of each item, shape (n,), or of all alike. What is neither cannot be said.

    The third value is the error of CEL: what is not there compares to nothing, `false && error` is false and
    `true || error` is true, and the strong logic of Kleene (1952) is what that comes to.
    """

    yes: Bools | bool
    no: Bools | bool


NEITHER = Truth(False, False)


class Strings:
    """A string of each item as a code into distinct names, −1 where there is none."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.index: dict[str, int] = {}
        code = self.index.setdefault
        codes = [code(v, len(self.index)) if v.__class__ is str else -1 for v in values]
        self.codes = np.array(codes, np.int32)  # (n,)
        self.names = list(self.index)

    def one_of(self, wanted: Collection[str]) -> Truth:
        codes = [self.index[name] for name in wanted if name in self.index]
        is_there = self.codes >= 0
        yes = self.codes == codes[0] if len(codes) == 1 else np.isin(self.codes, codes)
        return Truth(yes, is_there & ~yes)

    def lifted(self, holds: Callable[[str], bool]) -> Truth:
        """Return what holds of each item's string, asked once per distinct one."""
        by_name = np.array([*map(holds, self.names), False], np.bool_)
        yes: Bools = by_name[self.codes]
        return Truth(yes, (self.codes >= 0) & ~yes)

    def decoded(self) -> NDArray[np.object_]:
        """Return the strings themselves, None where there is none."""
        return np.array([*self.names, None], object)[self.codes]


class Lists:
    """A list of strings of each item: `rows` and `codes` of all their members, flat, and whether there is a list."""

    def __init__(self, values: Sequence[Any]) -> None:
        members = [(row, m) for row, v in enumerate(values) if v.__class__ is list for m in v if m.__class__ is str]
        self.rows = np.array([row for row, _ in members], np.int64)
        self.members = Strings([member for _, member in members])
        self.is_there = np.array([v.__class__ is list for v in values], np.bool_)  # (n,)

    def having(self, name: str) -> Truth:
        """Say which lists hold a string."""
        found = np.zeros(len(self.is_there), np.bool_)
        found[self.rows[self.members.codes == self.members.index.get(name, -2)]] = True
        return Truth(found, self.is_there & ~found)

    def with_one(self, is_wanted: Bools | bool) -> Bools:
        """Say which items have a member that is wanted, by distinct member."""
        found = np.zeros(len(self.is_there), np.bool_)
        wanted = np.broadcast_to(is_wanted, len(self.members.names))[self.members.codes]
        found[self.rows[wanted]] = True
        return found


Column = Floats | Strings | Lists | Truth


class DocumentColumns:
    """Columns of what documents say, each read once, when a condition asks for it; None has no value of any field."""

    def __init__(self, documents: Sequence[Item | None]) -> None:
        self._documents = documents
        self._read: dict[tuple[str, Kind], Column] = {}

    def __call__(self, name: str, kind: Kind) -> Column:
        """Return a column; values of another kind are not there. Of kind `any` it says which items have a value."""
        key = (name, kind)
        if key not in self._read:
            self._read[key] = self._column(name, kind)
        return self._read[key]

    def _column(self, name: str, kind: Kind) -> Column:
        return _of(self._values(name), kind)

    def _values(self, name: str) -> list[Any]:
        attributes = f"{OPEN[0]}."
        if name.startswith(attributes):
            key = name.removeprefix(attributes)
            return [None if document is None else document.attributes.get(key) for document in self._documents]
        field = name.removeprefix(ITEM)
        return [None if document is None else getattr(document, field) for document in self._documents]


class ItemColumns(DocumentColumns):
    """Columns of some rows of the item table at a moment: what moves by itself, beside what documents say."""

    def __init__(self, table: ItemTable, rows: NDArray[np.int32], now: float) -> None:
        self._table, self._rows, self._now = table, rows, now
        names, documents = table.ids.names, table.documents
        super().__init__([documents.get(names[row]) for row in rows.tolist()])

    def _column(self, name: str, kind: Kind) -> Column:
        if name == "item.age_days":
            created = self._table.created[self._rows]
            return _present(np.where(np.isfinite(created), (self._now - created) / DAY_S, np.nan), kind)
        if name == "item.popularity":
            return _present(self._table.standing(self._rows, self._now), kind)
        return super()._column(name, kind)


def _present(values: Floats, kind: Kind) -> Column:
    return values if kind == "number" else Truth(~np.isnan(values), np.isnan(values))


def _of(values: list[Any], kind: Kind) -> Column:
    match kind:
        case "string":
            return Strings(values)
        case "strings":
            return Lists(values)
        case "number":
            return np.array([v if v.__class__ in (int, float) else np.nan for v in values], np.float64)
        case "bool":
            return Truth(np.array([v is True for v in values], bool), np.array([v is False for v in values], bool))
        case "any":
            is_there = np.array([v is not None for v in values], bool)
            return Truth(is_there, ~is_there)
