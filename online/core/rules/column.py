"""Columns: one field of many items, in the form that a comparison wants it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.item import Item

from ..item_table import Vocabulary
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
    """A string of each item as a code of a vocabulary, −1 where there is none."""

    def __init__(self, codes: NDArray[np.int32], vocabulary: Vocabulary) -> None:
        self.codes, self.vocabulary = codes, vocabulary  # (n,)

    def one_of(self, wanted: Collection[str]) -> Truth:
        known = self.vocabulary.codes
        codes = [known[name] for name in wanted if name in known]
        if len(codes) == 1:
            yes: Bools = self.codes == codes[0]
        else:
            is_wanted = np.zeros(len(self.vocabulary) + 1, np.bool_)  # the last one is that of −1
            is_wanted[codes] = True
            yes = is_wanted[self.codes]
        return Truth(yes, (self.codes >= 0) & ~yes)

    def lifted(self, holds: Callable[[str], bool]) -> Truth:
        """Return what holds of each item's string, asked once per distinct one."""
        distinct, at = np.unique(self.codes, return_inverse=True)
        names = self.vocabulary.names
        yes = np.array([code >= 0 and holds(names[code]) for code in distinct.tolist()], np.bool_)[at]
        return Truth(yes, (self.codes >= 0) & ~yes)

    def decoded(self) -> NDArray[np.object_]:
        """Return the strings themselves, None where there is none."""
        names = self.vocabulary.names
        return np.array([names[code] if code >= 0 else None for code in self.codes.tolist()], object)


class Lists:
    """A list of strings of each item: `rows` and `codes` of all their members, flat, and which items have a list."""

    def __init__(
        self, rows: NDArray[np.int64], codes: NDArray[np.int32], is_there: Bools, vocabulary: Vocabulary
    ) -> None:
        self.rows, self.codes, self.is_there, self.vocabulary = rows, codes, is_there, vocabulary

    def having(self, name: str) -> Truth:
        """Say which lists hold a string."""
        found = self._with(self.codes == self.vocabulary.codes.get(name, -1))
        return Truth(found, self.is_there & ~found)

    def members(self, holds: Callable[[Strings], Truth]) -> tuple[Bools, Bools, Bools]:
        """Say which lists have a member that something is true of, one it is false of, and one it is neither of."""
        distinct, at = np.unique(self.codes, return_inverse=True)
        truth = holds(Strings(distinct, self.vocabulary))
        yes, no = (np.broadcast_to(said, len(distinct)) for said in truth)
        return self._with(yes[at]), self._with(no[at]), self._with(~(yes | no)[at])

    def _with(self, is_wanted: Bools) -> Bools:
        found = np.zeros(len(self.is_there), np.bool_)
        found[self.rows[is_wanted]] = True
        return found


Column = Floats | Strings | Lists | Truth


def encoded(values: Sequence[Any], kind: Kind, vocabulary: Vocabulary) -> NDArray[Any]:
    """Return values as an array (n,) that can be kept: a value of another kind is not there.

    Strings are codes, lists tuples of codes or None, numbers floats or NaN; true is 1, false −1, and neither 0. Of kind
    `any` a value that is there is 1, one that is not −1.
    """
    code = vocabulary.code
    match kind:
        case "string":
            return np.array([code(v) if v.__class__ is str else -1 for v in values], np.int32)
        case "strings":
            lists = np.empty(len(values), object)
            for row, value in enumerate(values):
                lists[row] = tuple(code(m) for m in value if m.__class__ is str) if value.__class__ is list else None
            return lists
        case "number":
            return np.array([v if v.__class__ in (int, float) else np.nan for v in values], np.float64)
        case "bool":
            return np.array([1 if v is True else -1 if v is False else 0 for v in values], np.int8)
        case "any":
            return np.array([-1 if v is None else 1 for v in values], np.int8)


def column(array: NDArray[Any], kind: Kind, vocabulary: Vocabulary) -> Column:
    """Return an encoded array as conditions read it."""
    if kind == "number":
        return array
    if kind == "string":
        return Strings(array, vocabulary)
    if kind != "strings":
        return Truth(array == 1, array == -1)
    lists = array.tolist()
    lengths = [len(members) if members else 0 for members in lists]
    codes = np.fromiter(chain.from_iterable(filter(None, lists)), np.int32, sum(lengths))
    return Lists(np.repeat(np.arange(len(lists)), lengths), codes, array != None, vocabulary)  # noqa: E711


def values_of(documents: Iterable[Item | None], name: str) -> list[Any]:
    """Return a field of documents, None where there is none."""
    attributes = f"{OPEN[0]}."
    if name.startswith(attributes):
        key = name.removeprefix(attributes)
        return [None if document is None else document.attributes.get(key) for document in documents]
    read = attrgetter(name.removeprefix(ITEM))
    return [None if document is None else read(document) for document in documents]


class DocumentColumns:
    """Columns of what documents say, each read once, when a condition asks for it; None has no value of any field."""

    def __init__(self, documents: Sequence[Item | None]) -> None:
        self._documents = documents
        self._read: dict[tuple[str, Kind], Column] = {}

    def __call__(self, name: str, kind: Kind) -> Column:
        """Return a column; values of another kind are not there. Of kind `any` it says which items have a value."""
        key = (name, kind)
        if key not in self._read:
            vocabulary = Vocabulary()
            self._read[key] = column(encoded(values_of(self._documents, name), kind, vocabulary), kind, vocabulary)
        return self._read[key]
