"""The rules that are on for one request, applied to its candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.slate import FiredRule

from ..item_table import ItemTable
from ..policy import Limits
from .column import Bools, Column, Strings
from .kept_columns import ItemColumns, Rows
from .mask import View
from .request_fields import RequestFields
from .rule_set import CompiledRule, RuleSet
from .syntax import Kind

PINNED = 50  # of the items that a pin is on, the most popular compete for its position
SCANNED = 10_000  # items that a condition of the request is evaluated on at most, to fill a slate

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]


def is_for(rule: CompiledRule, fields: RequestFields) -> bool:
    """Say whether a rule is for a request: its `when` is true, or it has none."""
    return rule.when is None or bool(rule.when(View(_no_items, fields)).yes)


def _no_items(name: str, kind: Kind) -> Column:
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class InForce:
    """Rules that are on: enabled, in their time, and with a `when` that is true of the request."""

    rule_set: RuleSet
    table: ItemTable
    fields: RequestFields
    rules: Sequence[CompiledRule]

    @classmethod
    def of(
        cls, rule_set: RuleSet, table: ItemTable, fields: RequestFields, own: Sequence[CompiledRule] = ()
    ) -> InForce:
        """Return those of the set that are on for a request, and the request's own."""
        asked: dict[str | None, bool] = {}  # many rules have the same `when`
        is_on = []
        for rule in rule_set.rules:
            if rule.rule.is_on(fields.now):
                if (when := rule.rule.when) not in asked:
                    asked[when] = is_for(rule, fields)
                if asked[when]:
                    is_on.append(rule)
        return cls(rule_set, table, fields, [*is_on, *own])

    def columns(self, rows: Rows) -> ItemColumns:
        """Return the columns of rows at the moment of the request."""
        return ItemColumns(self.table, rows, self.fields.now, self.rule_set.columns)

    def on(self, rows: Rows) -> Applied:
        """Apply the rules to candidates."""
        return Applied(self, rows, self._hits(rows))

    def _hits(self, rows: Rows) -> Bools:
        """Say which rule hits which row, shape (len(rows), rules)."""
        hits = np.empty((len(rows), len(self.rules)), np.bool_)
        if not self.rules:
            return hits
        bits = [self.rule_set.bit_of(rule) for rule in self.rules]
        kept = [k for k, bit in enumerate(bits) if bit is not None]
        if kept:
            hits[:, kept] = self.rule_set.hits(rows)[:, [bit for bit in bits if bit is not None]]
        view = View(self.columns(rows), self.fields)
        for k, rule in enumerate(self.rules):
            if bits[k] is None:
                hits[:, k] = True if rule.where is None else rule.where(view).yes
        return hits

    @property
    def pinned(self) -> Rows:
        """The rows that pins may put into the slate."""
        pins = [self.rule_set.rows_hit(rule) for rule in self.rules if rule.rule.action == "pin"]
        return np.concatenate([self._most_popular(rows) for rows in pins]) if pins else np.empty(0, np.int32)

    def _most_popular(self, rows: Rows) -> Rows:
        rows = rows[self.table.is_eligible(rows, self.fields.now)]
        if len(rows) <= PINNED:
            return rows
        return rows[np.argsort(-self.table.standing(rows, self.fields.now), kind="stable")[:PINNED]]

    def admitted(self, rows: Rows, limit: int) -> Rows:
        """Return the first rows that no include or exclude keeps out, `limit` at most.

        Where the document alone does not decide, no more than `SCANNED` rows are looked at: a request does not wait.
        """
        restricting = [rule for rule in self.rules if rule.rule.action in ("include", "exclude")]
        settled = [rule for rule in restricting if self.rule_set.bit_of(rule) is not None]
        others = [rule for rule in restricting if self.rule_set.bit_of(rule) is None]
        if settled:
            rows = rows[InForce(self.rule_set, self.table, self.fields, settled).on(rows).is_shown]
        if others:
            rows = rows[:SCANNED]
            rows = rows[InForce(self.rule_set, self.table, self.fields, others).on(rows).is_shown]
        return rows[:limit]


@dataclass(frozen=True, slots=True)
class Applied:
    """What rules do to candidates: `hits` says which rule (column) is on which candidate (row)."""

    in_force: InForce
    rows: Rows
    hits: Bools

    def _of(self, action: str) -> list[int]:
        return [k for k, rule in enumerate(self.in_force.rules) if rule.rule.action == action]

    @property
    def kept_out(self) -> dict[str, Bools]:
        """What each include and exclude takes from the support, (c,) by the reason's name."""
        masks = {k: ~self.hits[:, k] for k in self._of("include")} | {k: self.hits[:, k] for k in self._of("exclude")}
        rules = self.in_force.rules
        return {rules[k].reason or f"rule:{rules[k].rule.rule_id}": mask for k, mask in masks.items()}

    @property
    def is_shown(self) -> Bools:
        """Which candidates no include or exclude keeps out, (c,)."""
        shown = np.ones(len(self.rows), np.bool_)
        for mask in self.kept_out.values():
            shown &= ~mask
        return shown

    @property
    def boosts(self) -> Floats | None:
        """What boosts add to utilities, which are log-odds: the logarithms of their factors, (c,); None without any."""
        of_boosts = self._of("boost")
        if not of_boosts or not self.hits[:, of_boosts].any():
            return None
        factors = [self.in_force.rules[k].rule.factor or 1.0 for k in of_boosts]
        return self.hits[:, of_boosts].astype(np.float64) @ np.log(factors)

    def pins(self, utilities: Floats, eligible: Bools) -> dict[int, int]:
        """Return slot -> candidate: of those that a pin is on and that may be shown, the best."""
        rules, found = self.in_force.rules, dict[int, int]()
        open_ = eligible.copy()
        for k in sorted(self._of("pin"), key=lambda k: (rules[k].rule.position, -rules[k].rule.priority, k)):
            slot, candidates = (rules[k].rule.position or 1) - 1, np.flatnonzero(self.hits[:, k] & open_)
            if slot not in found and slot < self.in_force.fields.n and len(candidates):
                found[slot] = best = int(candidates[np.argmax(utilities[candidates])])
                open_[best] = False
        return found

    def limits(self, groups: Codes) -> Limits | None:
        """Return the caps, by the first categories and brands of the candidates (c, 2); None without any."""
        caps = self._of("cap")
        if not caps:
            return None
        columns = self.in_force.columns(self.rows)
        by_name: Mapping[str | None, Codes] = {
            None: np.zeros(len(self.rows), np.int32), "category": groups[:, 0], "brand": groups[:, 1]
        }  # fmt: skip
        codes = []
        for k in caps:
            per = self.in_force.rules[k].rule.per
            of_items = by_name[per] if per in by_name else _codes(columns, f"item.{per}")
            codes.append(np.where(self.hits[:, k], of_items, -1))
        most = [self.in_force.rules[k].rule.most or 1 for k in caps]
        return Limits(np.stack(codes, axis=1).astype(np.int32), np.array(most, np.int64))

    @property
    def fired(self) -> tuple[list[FiredRule], bytes]:
        """The rules that were on any candidate, and bit sets over them, uint8 (c, ceil(rules / 8)), for the slate."""
        is_felt = np.logical_or.reduce(self.hits, axis=0)
        is_felt[self._of("include")] = True
        which = np.flatnonzero(is_felt).tolist()
        rules = [self.in_force.rules[k] for k in which]
        fired = [FiredRule(rule.rule.rule_id, rule.version, rule.rule.action) for rule in rules]
        return fired, np.packbits(self.hits[:, which], axis=1, bitorder="little").tobytes() if fired else b""


def _codes(columns: ItemColumns, name: str) -> Codes:
    strings = columns(name, "string")
    assert isinstance(strings, Strings)
    return strings.codes
