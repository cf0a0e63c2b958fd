"""The rules of the business, compiled: one bit per item and condition, kept as the catalogue changes.

A condition that an item's document alone decides (`Expression.is_settled`) is evaluated when the document comes, so a
request gathers bits of its candidates. Any other is evaluated over the candidates of each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.item import Item
from schemas.rule import Rule

from ..item_table import ItemTable
from .check import Expression, condition_on_items, condition_on_request
from .column import Bools, DocumentColumns
from .mask import Mask, View, compiled
from .syntax import ExpressionError

CHUNK = 16_384  # items evaluated at once

Rows = NDArray[np.int32]


class InvalidRule(ValueError):
    """A rule that cannot be compiled; `field` names the expression that is wrong, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with the masks of its conditions; None where it has none. `version` is that of its document."""

    rule: Rule
    version: int
    where: Mask | None
    when: Mask | None
    is_settled: bool


def compile_rule(rule: Rule, version: int = 0) -> CompiledRule:
    """Return the rule with its conditions compiled.

    Raises:
        InvalidRule: one of them is no condition that a rule can have there.

    >>> compile_rule(Rule(rule_id="r", action="exclude", where="item.price > 99.0")).is_settled
    True
    """
    where = _condition("where", condition_on_items, rule.where)
    when = _condition("when", condition_on_request, rule.when)
    is_settled = where is not None and where.is_settled
    if rule.action == "pin" and not is_settled:
        raise InvalidRule("where", "a pin is on items by their documents: put what the request decides into when")
    is_of, is_for = (None if condition is None else compiled(condition) for condition in (where, when))
    return CompiledRule(rule, version, is_of, is_for, is_settled)


def _condition(field: str, checked: Callable[[str], Expression], text: str | None) -> Expression | None:
    try:
        return None if text is None else checked(text)
    except ExpressionError as error:
        raise InvalidRule(field, str(error)) from None


class RuleSet:
    """Rules in order of their id, and a bit for each item and settled one: uint8 (rows, ceil(settled / 8))."""

    def __init__(self, rules: Iterable[CompiledRule] = (), table: ItemTable | None = None) -> None:
        self.rules = sorted(rules, key=lambda rule: rule.rule.rule_id)
        self._settled = [rule for rule in self.rules if rule.is_settled and rule.rule.enabled]
        self._bit = {id(rule): bit for bit, rule in enumerate(self._settled)}
        self._bits = np.zeros((0, (len(self._settled) + 7) // 8), np.uint8)
        self._edition = 0  # of the bits
        self._matching: dict[int, tuple[int, Rows]] = {}  # bit -> edition and rows
        if table is not None and self._settled:
            documents = list(table.documents.values())
            for start in range(0, len(documents), CHUNK):
                self.put(documents[start : start + CHUNK], table)

    def put(self, items: Sequence[Item], table: ItemTable) -> None:
        """Evaluate the settled conditions on documents; to be called before the table says that they are shown."""
        if not self._settled or not items:
            return
        view = View(DocumentColumns(items), lambda name: None)
        hits = np.empty((len(items), len(self._settled)), np.bool_)
        for bit, rule in enumerate(self._settled):
            hits[:, bit] = rule.where(view).yes if rule.where is not None else True
        rows = np.array([table.row(item.item_id) for item in items], np.int32)
        self._grow(len(table.brand))
        self._bits[rows] = np.packbits(hits, axis=1, bitorder="little")
        self._edition += 1

    def _grow(self, capacity: int) -> None:
        if (more := capacity - len(self._bits)) > 0:
            self._bits = np.concatenate([self._bits, np.zeros((more, self._bits.shape[1]), np.uint8)])

    def bit_of(self, rule: CompiledRule) -> int | None:
        """Return the bit of a settled rule."""
        return self._bit.get(id(rule))

    def hits(self, rows: Rows) -> Bools:
        """Return what the settled rules hit of rows, shape (len(rows), 8 · bytes), in order of bit."""
        bits, wide = self._bits, np.zeros((len(rows), self._bits.shape[1]), np.uint8)
        is_there = rows < len(bits)
        wide[is_there] = bits[rows[is_there]]
        return np.unpackbits(wide, axis=1, bitorder="little").astype(np.bool_)

    def rows_hit(self, rule: CompiledRule) -> Rows:
        """Return all rows that a settled rule hits."""
        bit, edition = self._bit[id(rule)], self._edition
        known = self._matching.get(bit)
        if known is None or known[0] != edition:
            found = np.flatnonzero(self._bits[:, bit // 8] & (1 << bit % 8)).astype(np.int32)
            known = self._matching[bit] = (edition, found)
        return known[1]
