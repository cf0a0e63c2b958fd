"""A user's controls, and the category that a request asks for, as the rules that they are: part of every support."""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np

from schemas.rule import Rule

from ..controls import Controls
from .column import Lists, Strings, Truth
from .mask import View
from .rule_set import CompiledRule

MUTED = "muted"  # what `removed` calls it


def control_rules(controls: Controls | None) -> list[CompiledRule]:
    """Return what a user's controls exclude and boost.

    >>> [rule.rule.rule_id for rule in control_rules(Controls(muted_brands=["acme"]))]
    ['user.muted']
    """
    if controls is None:
        return []
    rules = []
    if controls.muted_items or controls.muted_brands or controls.muted_categories:
        rules.append(
            CompiledRule(Rule(rule_id="user.muted", action="exclude"), 0, partial(_is_muted, controls), reason=MUTED)
        )
    for boost in controls.boosts:
        rule = Rule(rule_id=f"user.{boost.facet}:{boost.value}", action="boost", factor=boost.factor)
        rules.append(CompiledRule(rule, 0, partial(_has, boost.facet, boost.value)))
    return rules


def category_rule(category: str) -> CompiledRule:
    """Return the rule that shows nothing but a category."""
    rule = Rule(rule_id="request.category", action="include")
    return CompiledRule(rule, 0, partial(_has, "category", category), reason="category")


def _is_muted(controls: Controls, view: View) -> Truth:
    yes = cast(Strings, view.column("item.item_id", "string")).one_of(controls.muted_items).yes
    if controls.muted_brands:
        yes = yes | cast(Strings, view.column("item.brand", "string")).one_of(controls.muted_brands).yes
    if controls.muted_categories:
        yes = yes | _categories(view).members(lambda names: names.one_of(controls.muted_categories))[0]
    return Truth(yes, np.logical_not(yes))


def _has(facet: str, value: str, view: View) -> Truth:
    if facet == "brand":
        return cast(Strings, view.column("item.brand", "string")).one_of((value,))
    return _categories(view).having(value)


def _categories(view: View) -> Lists:
    return cast(Lists, view.column("item.categories", "strings"))
