from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from example_slate import example_slate

from online.core.item_table import ItemTable
from online.core.policy import SlotPolicy, draw_slate
from online.core.record import UserRecord
from online.core.rules.dry_run import DryRun, dry_run
from online.core.rules.rule_set import compile_rule
from schemas.item import Item
from schemas.rule import Rule
from schemas.slate import Slate

ITEMS, SLOTS = 12, 4
POLICY = SlotPolicy(tau=0.5, epsilon=0.05, diversity=0.0)


@pytest.fixture
def table() -> ItemTable:
    """Items i0 to i11 of two brands, and `late`, which no slate has among its candidates."""
    table = ItemTable(partitions=1)
    for n in range(ITEMS):
        table.put(Item(item_id=f"i{n}", updated_at=0.0, created_at=0.0, brand=f"b{n % 2}", price=float(n)))
    table.put(Item(item_id="late", updated_at=0.0, created_at=0.0, brand="b2"))
    return table


def slates(n: int = 20, **fields: Any) -> list[Slate]:
    utilities, eligible = np.linspace(1.0, -1.0, ITEMS), np.arange(ITEMS) != 3
    groups = np.full((ITEMS, 2), -1, np.int32)
    drawn = [draw_slate(utilities, groups, eligible, SLOTS, POLICY, seed) for seed in range(n)]
    said: dict[str, Any] = {
        "n": SLOTS,
        "surface": "home",
        "user_key": "u7",
        "request": {"context": {"budget": 3}},
        "candidates": [f"i{i}" for i in range(ITEMS)],
        "utilities": utilities.tobytes(),
        "groups": groups.tobytes(),
        "eligible": eligible.astype(np.uint8).tobytes(),
        "tau": POLICY.tau,
        "epsilon": POLICY.epsilon,
        "diversity": POLICY.diversity,
        "category_cap": None,
        "brand_cap": None,
        "pins": {},
        "pool": b"",
        "pool_share": 0.0,
    } | fields
    return [
        example_slate(**said, seed=seed, slots=d.slots.tolist(), propensities=d.propensities.tolist())
        for seed, d in enumerate(drawn)
    ]


def tried(table: ItemTable, action: Any, where: str | None, given: list[Slate] | None = None, **fields: Any) -> DryRun:
    rule = compile_rule(Rule(rule_id="r", action=action, where=where, **fields))
    record = UserRecord(labels=["vip"])
    return dry_run(rule, slates() if given is None else given, table, lambda slate: record)


def test_a_rule_that_is_on_nothing_changes_nothing(table: ItemTable) -> None:
    for run in (
        tried(table, "exclude", "item.brand == 'nobody'"),
        tried(table, "exclude", "true", when="surface == 'cart'"),
        tried(table, "include", "item.price >= 0"),
        tried(table, "boost", "true", factor=5.0),
    ):
        assert (run.slates, run.changed, run.removed.total(), run.examples) == (20, 0, 0, [])
        assert run.shown_before == run.shown_after


def test_an_exclude_takes_its_items_out_and_others_come_in(table: ItemTable) -> None:
    run = tried(table, "exclude", "item.item_id in ['i0', 'i1', 'i3']", when="'vip' in user.labels")

    shown = {i for slate in slates() for i in (slate.candidates[slot] for slot in slate.slots)}
    assert (run.shown_before, run.shown_before - run.shown_after) == (shown, {"i0", "i1"})
    assert run.removed.total() == run.added.total() > 0
    assert set(run.examples[0].before) & {"i0", "i1"}
    assert not set(run.examples[0].after) & {"i0", "i1"}
    assert run.document()["changed"] == run.changed


def test_a_filter_by_the_request_leaves_slates_short(table: ItemTable) -> None:
    run = tried(table, "include", "item.price < context.budget")

    assert (run.shorter, run.shown_after) == (20, {"i0", "i1", "i2"})


def test_a_pin_brings_in_an_item_that_was_no_candidate(table: ItemTable) -> None:
    run = tried(table, "pin", "item.brand == 'b2'", position=2)

    assert (run.changed, run.added["late"]) == (20, 20)
    assert all(example.after[1] == "late" for example in run.examples)


def test_a_cap_holds_beside_those_of_the_slate(table: ItemTable) -> None:
    of_both = np.zeros((ITEMS, 1), np.int32).tobytes()
    run = tried(table, "cap", "item.brand == 'b0'", slates(caps=[SLOTS], cap_groups=of_both), most=1)

    for example in run.examples:
        assert sum(int(item[1:]) % 2 == 0 for item in example.after) == 1


def test_slates_of_items_that_are_not_known_any_more_are_passed_over(table: ItemTable) -> None:
    run = tried(table, "exclude", "true", slates(3, candidates=["gone", *(f"i{i}" for i in range(1, ITEMS))]))

    assert (run.slates, run.passed_over) == (0, 3)


def test_slates_under_a_rule_have_the_distribution_that_it_gives_them(table: ItemTable) -> None:
    n, shown = 600, Counter[str]()
    served = slates(n)
    for slate in served:
        shown.update(tried(table, "boost", "item.brand == 'b0'", [slate], factor=0.5).shown_after)

    utilities = np.frombuffer(served[0].utilities) + np.where(np.arange(ITEMS) % 2 == 0, np.log(0.5), 0.0)
    eligible, groups = np.frombuffer(served[0].eligible, np.uint8).astype(bool), np.full((ITEMS, 2), -1, np.int32)
    fresh = Counter(
        f"i{i}" for seed in range(n) for i in draw_slate(utilities, groups, eligible, SLOTS, POLICY, n + seed).slots
    )
    for item in (f"i{i}" for i in range(ITEMS)):
        share = (shown[item] + fresh[item]) / (2 * n)
        assert abs(shown[item] - fresh[item]) / n <= 4.5 * np.sqrt(2 * share * (1 - share) / n)
