"""The rules of the business, compiled: one bit per item and condition, kept as the catalogue changes.

A condition that an item's document alone decides (`Expression.is_settled`) is evaluated when the document comes, so a
request gathers bits of its candidates. Any other is evaluated over the candidates of each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from schemas.item import Item
from schemas.rule import Rule

from ..item_table import ItemTable
from .check import Expression, condition_on_items, condition_on_request
from .column import Bools, DocumentColumns
from .kept_columns import CHUNK, KeptColumns, Rows, rows_of
from .mask import Mask, View, compiled
from .syntax import ExpressionError


class InvalidRule(ValueError):
    """A rule that cannot be compiled; `field` names the expression that is wrong, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with the masks of its conditions; None where it has none. `version` is that of its document.

    `reason` is what slates call it when it keeps something out; empty: `rule:` and its id.
    """

    rule: Rule
    version: int
    where: Mask | None
    when: Mask | None = None
    is_settled: bool = False
    reason: str = ""


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
    """Rules in order of their id, and one bit for each item and settled rule: uint8 (rows, bytes)."""

    def __init__(self, rules: Iterable[CompiledRule] = ()) -> None:
        self.rules = sorted(rules, key=lambda rule: rule.rule.rule_id)
        self._bit: dict[int, int] = {}  # by identity: a rule that has not changed is the same object
        self._bits = np.zeros((0, 0), np.uint8)
        self.columns = KeptColumns()
        self._edition = 0  # of the bits
        self._matching: dict[int, tuple[int, Rows]] = {}  # bit -> edition and rows

    @classmethod
    def over(cls, rules: Iterable[CompiledRule], table: ItemTable, before: RuleSet | None = None) -> RuleSet:
        """Return a set with the bits of all items; those of rules that `before` has too are taken over."""
        after = cls(rules)
        known = {} if before is None else before._bit
        after.columns = after.columns if before is None else before.columns
        settled = [rule for rule in after.rules if rule.is_settled and rule.rule.enabled]
        after._bit = {id(rule): known[id(rule)] for rule in settled if id(rule) in known}
        fresh = [rule for rule in settled if id(rule) not in known]
        taken = set(after._bit.values())
        after._bit |= zip(map(id, fresh), (bit for bit in count() if bit not in taken), strict=False)
        after._bits = np.zeros((len(table.brand), (max(after._bit.values(), default=-1) + 8) // 8), np.uint8)
        if before is not None:
            rows, width = (min(pair) for pair in zip(before._bits.shape, after._bits.shape, strict=True))
            after._bits[:rows, :width] = before._bits[:rows, :width]
        after._evaluate(fresh, table)
        return after

    def _evaluate(self, rules: Sequence[CompiledRule], table: ItemTable) -> None:
        documents = list(table.documents.values()) if rules else []
        for start in range(0, len(documents), CHUNK):
            some = documents[start : start + CHUNK]
            rows, view = rows_of(some, table), View(DocumentColumns(some), _nothing)
            for rule in rules:
                byte, bit = divmod(self._bit[id(rule)], 8)
                others = self._bits[rows, byte] & np.uint8(255 - (1 << bit))
                self._bits[rows, byte] = others | (np.broadcast_to(_hit(rule, view), len(rows)).astype(np.uint8) << bit)

    def put(self, items: Sequence[Item], table: ItemTable) -> None:
        """Evaluate the settled rules on documents; to be called before the table says that they are shown."""
        rows = rows_of(items, table)
        self.columns.put(items, rows, len(table.brand))
        if not self._bit or not items:
            return
        view = View(DocumentColumns(items), _nothing)
        hits = np.zeros((len(items), 8 * self._bits.shape[1]), np.bool_)
        for rule in self.rules:
            if id(rule) in self._bit:
                hits[:, self._bit[id(rule)]] = _hit(rule, view)
        if (more := len(table.brand) - len(self._bits)) > 0:
            self._bits = np.concatenate([self._bits, np.zeros((more, self._bits.shape[1]), np.uint8)])
        self._bits[rows] = np.packbits(hits, axis=1, bitorder="little")
        self._edition += 1

    def bit_of(self, rule: CompiledRule) -> int | None:
        """Return the bit of a settled rule of this set."""
        return self._bit.get(id(rule))

    def hits(self, rows: Rows) -> Bools:
        """Return what the settled rules hit of rows, shape (len(rows), 8 · bytes), in order of bit."""
        bits, wide = self._bits, np.zeros((len(rows), self._bits.shape[1]), np.uint8)
        is_there = rows < len(bits)
        wide[is_there] = bits[rows[is_there]]
        return np.unpackbits(wide, axis=1, bitorder="little").view(np.bool_)

    def rows_hit(self, rule: CompiledRule) -> Rows:
        """Return all rows that a settled rule of this set hits."""
        bit, edition = self._bit[id(rule)], self._edition
        known = self._matching.get(bit)
        if known is None or known[0] != edition:
            found = np.flatnonzero(self._bits[:, bit // 8] & (1 << bit % 8)).astype(np.int32)
            known = self._matching[bit] = (edition, found)
        return known[1]


def _hit(rule: CompiledRule, view: View) -> Bools | bool:
    return True if rule.where is None else rule.where(view).yes


def _nothing(name: str) -> None:
    return None
