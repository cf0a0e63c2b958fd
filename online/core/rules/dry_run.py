"""A rule tried on slates that were served: how few of their slots can change, drawn as they would be under the rule.

Slot by slot the item that was served is kept with probability min(1, q/p), of its probabilities under the rule and as
served; else another one comes from what q has above p. That is the maximal coupling (Lindvall, Lectures on the Coupling
Method, 1992, section I.5): slates have the distribution that the rule gives them, and no slot changes by chance alone.

Each slate brings its candidates, utilities, support and seed; catalogue and records are as they are now. The rule is
one more: what an earlier version of it has done to a slate is not taken back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.slate import Slate

from ..item_table import ItemTable
from ..policy import Limits, together
from ..propensity import groups_of, limits_of, next_distribution, slot_distributions
from ..record import UserRecord
from .in_force import Applied, InForce, is_for
from .request_fields import RequestFields
from .rule_set import CompiledRule, RuleSet

EXAMPLES, TOLD = 5, 10

RecordOf = Callable[[Slate], UserRecord]


class Example(NamedTuple):
    """A slate that changes: its items before and after."""

    recommendation_id: str
    surface: str
    before: list[str]
    after: list[str]


@dataclass(slots=True)
class DryRun:
    """What a rule changes. Items are counted by slot: one that is removed from three slates counts three times."""

    slates: int = 0  # that were tried
    passed_over: int = 0  # slates of items that this worker does not know any more
    matching: int = 0  # slates that the rule is for, and that have a candidate it is on
    changed: int = 0  # slates
    shorter: int = 0  # slates that would be filled from the rest of the catalogue
    removed: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    shown_before: set[str] = field(default_factory=set)
    shown_after: set[str] = field(default_factory=set)
    examples: list[Example] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return it as JSON has it: `coverage` is how many different items the slates show."""
        return {
            "slates": self.slates,
            "passed_over": self.passed_over,
            "matching": self.matching,
            "changed": self.changed,
            "shorter": self.shorter,
            "removed": {"slots": self.removed.total(), "items": dict(self.removed.most_common(TOLD))},
            "added": {"slots": self.added.total(), "items": dict(self.added.most_common(TOLD))},
            "coverage": {
                "before": len(self.shown_before),
                "after": len(self.shown_after),
                "lost": len(self.shown_before - self.shown_after),
                "gained": len(self.shown_after - self.shown_before),
            },
            "examples": [example._asdict() for example in self.examples],
        }


def dry_run(rule: CompiledRule, slates: Iterable[Slate], table: ItemTable, record_of: RecordOf) -> DryRun:
    """Try slates under one more rule, whether or not it is enabled and its time has come."""
    run = DryRun()
    is_pin = rule.rule.action == "pin"
    rule_set = RuleSet.over([rule], table) if is_pin else RuleSet()
    for slate in slates:
        if not all(item in table.ids.codes for item in slate.candidates):
            run.passed_over += 1
            continue
        run.slates += 1
        before = [slate.candidates[i] for i in slate.slots]
        after = before
        fields = _fields(slate, record_of(slate))
        if is_for(rule, fields):
            after = _under(InForce(rule_set, table, fields, [rule]), slate, run)
        _count(run, slate, before, after)
    return run


def _fields(slate: Slate, record: UserRecord) -> RequestFields:
    asked = slate.request
    context = record.labels_context | record.context | asked.get("context", {})
    return RequestFields(record, slate.user_key, slate.surface, slate.n, asked.get("item_id"), context, slate.time)


def _count(run: DryRun, slate: Slate, before: list[str], after: list[str]) -> None:
    run.shown_before.update(before)
    run.shown_after.update(after)
    run.removed.update(set(before) - set(after))
    run.added.update(set(after) - set(before))
    run.changed += after != before
    run.shorter += len(after) < len(before)
    if after != before and len(run.examples) < EXAMPLES:
        run.examples.append(Example(slate.recommendation_id, slate.surface, before, after))


def _under(in_force: InForce, slate: Slate, run: DryRun) -> list[str]:
    """Return the items of the slate under the rule."""
    table = in_force.table
    own = np.setdiff1d(in_force.pinned, table.rows(slate.candidates))
    applied = in_force.on(np.concatenate([table.rows(slate.candidates), own]))
    run.matching += bool(applied.hits.any())
    ruled = _ruled(applied, slate, own)
    return [ruled.candidates[i] for i in _coupled(slate, ruled)]


def _ruled(applied: Applied, slate: Slate, own: NDArray[np.int32]) -> Slate:
    """Return the slate with the support, utilities, pins and caps that the rule gives it.

    Candidates that only the rule has named stand behind the others. They are there to be pinned, which asks for no
    utility, and are not drawn.
    """
    table, names = applied.in_force.table, applied.in_force.table.ids.names
    utilities = np.concatenate([np.frombuffer(slate.utilities), np.full(len(own), -np.inf)])
    if (boosts := applied.boosts) is not None:
        utilities = utilities + boosts
    served = np.frombuffer(slate.eligible, np.uint8).astype(np.bool_)
    eligible = np.pad(served, (0, len(own))) & applied.is_shown
    groups = np.concatenate([groups_of(slate), np.stack([table.category[own, 0], table.brand[own]], axis=1)])
    pins = applied.pins(utilities, np.pad(served, (0, len(own)), constant_values=True) & applied.is_shown)
    kept = {slot: i for slot, i in slate.pins.items() if i not in pins.values() and eligible[i]}
    limits = together(_with(limits_of(slate), len(own)), applied.limits(groups))
    return replace(
        slate,
        candidates=[*slate.candidates, *(names[row] for row in own.tolist())],
        utilities=utilities.tobytes(),
        eligible=eligible.astype(np.uint8).tobytes(),
        groups=groups.tobytes(),
        pool=slate.pool and slate.pool + bytes(len(own)),
        pins=kept | pins,
        caps=[] if limits is None else limits.most.tolist(),
        cap_groups=b"" if limits is None else limits.groups.tobytes(),
    )


def _coupled(slate: Slate, ruled: Slate) -> list[int]:
    """Return the candidates of the slots under the rule, as many as possible those that were served."""
    draws = np.random.default_rng(slate.seed).random((slate.n, 2))  # not those that the slate was drawn with
    served, more = slot_distributions(slate), len(ruled.candidates) - len(slate.candidates)
    pins, chosen = ruled.pins, list[int]()
    known = [i for slot, i in pins.items() if slot < slate.n]
    for slot, (keep, other) in enumerate(draws):
        if slot in pins:
            chosen.append(pins[slot])
            continue
        q = next_distribution(ruled, known)
        if not q.any():
            continue
        p = np.pad(served[slot], (0, more)) if slot < len(served) else np.zeros(len(q))
        was = slate.slots[slot] if slot < len(served) else -1
        if was < 0 or keep * p[was] >= q[was]:
            was = _one_of(np.maximum(q - p, 0.0), other)
        chosen.append(was)
        known = [*known, was]
    return chosen


def _one_of(weights: NDArray[np.float64], draw: float) -> int:
    reached = np.cumsum(weights)
    return int(np.searchsorted(reached, draw * reached[-1], side="right"))


def _with(logged: Limits | None, own: int) -> Limits | None:
    """Return caps of the slate for candidates that only the rule has named as well: these fall under none of them."""
    if logged is None:
        return None
    return Limits(np.pad(logged.groups, ((0, own), (0, 0)), constant_values=-1), logged.most)
