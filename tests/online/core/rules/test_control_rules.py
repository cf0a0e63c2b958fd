from __future__ import annotations

import numpy as np
import pytest

from online.core.controls import Controls
from online.core.item_table import ItemTable
from online.core.record import UserRecord
from online.core.rules.control_rules import category_rule, control_rules
from online.core.rules.in_force import Applied, InForce
from online.core.rules.request_fields import RequestFields
from online.core.rules.rule_set import CompiledRule, RuleSet
from schemas.item import Item
from schemas.preferences import FacetBoost

ITEMS = [
    Item(item_id="a", updated_at=0.0, created_at=0.0, brand="acme", categories=["c0", "c1", "c2", "c3", "fifth"]),
    Item(item_id="b", updated_at=0.0, created_at=0.0, brand="best", categories=["c1"]),
    Item(item_id="c", updated_at=0.0, created_at=0.0),
]


def applied(rules: list[CompiledRule], *, kept_columns: bool) -> Applied:
    table, rule_set = ItemTable(partitions=1), RuleSet()
    for item in ITEMS:
        table.put(item)
    rows, fields = np.arange(3, dtype=np.int32), RequestFields(UserRecord(), "u7", "home", 3, None, {}, 9.0)
    if kept_columns:
        InForce.of(rule_set, table, fields, rules).on(rows)  # leaves word which columns it wants
        rule_set.columns.build(table)
    return InForce.of(rule_set, table, fields, rules).on(rows)


@pytest.mark.parametrize("kept_columns", [False, True])
@pytest.mark.parametrize(
    ("controls", "muted"),
    [
        (Controls(muted_items=["b", "unknown"]), "b"),
        (Controls(muted_brands=["acme", "unknown"]), "a"),
        (Controls(muted_categories=["fifth"]), "a"),  # ranking looks at the first four of an item alone
        (Controls(muted_categories=["c1", "unknown"]), "ab"),
        (Controls(0.0, ["c"], ["best"], ["c0"]), "abc"),
        (Controls(muted_brands=["unknown"]), ""),
    ],
)
def test_muted_is_what_an_item_a_brand_or_any_category_says(controls: Controls, muted: str, kept_columns: bool) -> None:
    (mask,) = applied(control_rules(controls), kept_columns=kept_columns).kept_out.items()

    assert mask[0] == "muted"
    assert "".join(item.item_id for item, is_muted in zip(ITEMS, mask[1], strict=True) if is_muted) == muted


def test_boosts_of_what_an_item_is_add_up() -> None:
    boosts = [FacetBoost("brand", "acme", 2.0), FacetBoost("category", "c1", 3.0), FacetBoost("category", "none", 9.0)]
    under = applied(control_rules(Controls(boosts=boosts)), kept_columns=False)

    assert under.boosts == pytest.approx(np.log([6.0, 3.0, 1.0]))
    assert [rule.rule_id for rule in under.fired[0]] == ["user.brand:acme", "user.category:c1"]


def test_a_category_is_all_that_is_shown() -> None:
    assert applied([category_rule("fifth")], kept_columns=False).is_shown.tolist() == [True, False, False]


def test_who_wants_nothing_has_no_rules() -> None:
    assert control_rules(None) == control_rules(Controls(personalization=False)) == []
