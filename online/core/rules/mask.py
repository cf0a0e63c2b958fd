"""Conditions compiled to masks: closures over columns of items and scalars of a request, one numpy step a node."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias, cast

import numpy as np

from ..item_table import Vocabulary
from .check import Expression
from .column import NEITHER, Column, Lists, Strings, Truth, column, encoded
from .syntax import Chain, Compare, Exists, Field, Has, Kind, Listing, Literal, Node, Not, TextTest, Within

Scalar: TypeAlias = str | float | bool | Sequence[str] | None
"""A field of the request; None where there is none."""


@dataclass(frozen=True, slots=True)
class View:
    """What a condition is evaluated on: columns of items by name and kind, and fields of the request by name."""

    column: Callable[[str, Kind], Column]
    scalar: Callable[[str], Scalar]


Mask: TypeAlias = Callable[[View], Truth]
Value: TypeAlias = Callable[[View], Any]

_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith, "endsWith": str.endswith, "contains": operator.contains,
}  # fmt: skip
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def compiled(expression: Expression) -> Mask:
    """Return the mask of a checked expression.

    >>> from .check import condition_on_request
    >>> context = {"context.device": "phone"}
    >>> is_phone = compiled(condition_on_request('context.device == "phone" && surface == "home"'))
    >>> is_phone(View(lambda name, kind: NEITHER, context.get))
    Truth(yes=False, no=False)
    """
    return _mask(expression.tree)


def _mask(node: Node) -> Mask:
    match node:
        case Literal():
            constant = Truth(node.value is True, node.value is False)
            return lambda view: constant
        case Field():
            return _bool_field(node)
        case Not():
            inner = _mask(node.of)
            return lambda view: Truth(*reversed(inner(view)))
        case Chain():
            return _chain([_mask(part) for part in node.parts], node.every)
        case Compare():
            return _compare(node)
        case Within():
            return _within(node)
        case TextTest():
            return _text_test(node)
        case Has():
            return _has(node.field)
        case Exists():
            return _exists(node)
    raise TypeError(f"{type(node).__name__} is no condition")


def _bool_field(node: Field) -> Mask:
    name = node.name
    if node.of_items:
        return lambda view: cast(Truth, view.column(name, "bool"))
    return lambda view: Truth((said := view.scalar(name)) is True, said is False)


def _has(node: Field) -> Mask:
    name = node.name
    if node.of_items:
        return lambda view: cast(Truth, view.column(name, "any"))
    return lambda view: Truth((said := view.scalar(name)) is not None, said is None)


def _chain(parts: list[Mask], every: bool) -> Mask:
    """Join by && (`every`) or ||: one is the other with true and false exchanged."""

    def chained(view: View) -> Truth:
        truths = [part(view) for part in parts]
        all_, any_ = (operator.and_, operator.or_) if every else (operator.or_, operator.and_)
        return Truth(reduce(all_, [t.yes for t in truths]), reduce(any_, [t.no for t in truths]))

    return chained


def _compare(node: Compare) -> Mask:
    kinds = {side.kind for side in (node.left, node.right) if isinstance(side, Field)}
    if kinds == {"any"}:
        return _decided_late(node)
    if "bool" in kinds or (isinstance(node.left, Literal) and type(node.left.value) is bool):
        return _compare_bools(_mask(node.left), _mask(node.right), node.order == "==")
    if _is_number(node.left):
        left, right, holds = _number(node.left), _number(node.right), _ORDERS[node.order]

        def compared(view: View) -> Truth:
            a, b = left(view), right(view)
            yes = holds(a, b)
            is_there = (a == a) & (b == b)  # a number that is not there is NaN
            return Truth(yes & is_there, (yes ^ True) & is_there)

        return compared
    return _compare_strings(_string(node.left), _string(node.right), node.order)


def _decided_late(node: Compare) -> Mask:
    """Compare two fields of any kind: what the request's one turns out to be decides what they are compared as."""
    fields = [side for side in (node.left, node.right) if isinstance(side, Field)]
    asked = next(field.name for field in fields if not field.of_items)
    kinds: dict[type, Kind] = {str: "string", float: "number", int: "number"}
    if node.order in ("==", "!="):
        kinds[bool] = "bool"
    left, right = fields
    by_type = {
        type_: _compare(replace(node, left=replace(left, kind=kind), right=replace(right, kind=kind)))
        for type_, kind in kinds.items()
    }

    def compared(view: View) -> Truth:
        decided = by_type.get(type(view.scalar(asked)))
        return NEITHER if decided is None else decided(view)

    return compared


def _compare_bools(left: Mask, right: Mask, is_equal: bool) -> Mask:
    def compared(view: View) -> Truth:
        a, b = left(view), right(view)
        same, other = (a.yes & b.yes) | (a.no & b.no), (a.yes & b.no) | (a.no & b.yes)
        return Truth(same, other) if is_equal else Truth(other, same)

    return compared


def _compare_strings(left: Value, right: Value, order: str) -> Mask:
    holds, turned = _ORDERS[order], _ORDERS[_TURNED[order]]

    def compared(view: View) -> Truth:
        a, b = left(view), right(view)
        if a is None or b is None:
            return NEITHER
        if isinstance(a, Strings) and isinstance(b, Strings):
            return _compare_columns(a, b, holds)
        if isinstance(b, Strings):
            return _compare_column(b, a, _TURNED[order], turned)
        if isinstance(a, Strings):
            return _compare_column(a, b, order, holds)
        return Truth(yes := holds(a, b), not yes)

    return compared


def _compare_column(column: Strings, value: str, order: str, holds: Callable[[str, str], bool]) -> Truth:
    if order in ("==", "!="):
        equal = column.one_of((value,))
        return equal if order == "==" else Truth(equal.no, equal.yes)
    return column.lifted(lambda name: holds(name, value))


def _compare_columns(a: Strings, b: Strings, holds: Callable[[Any, Any], Any]) -> Truth:
    is_there = (a.codes >= 0) & (b.codes >= 0)
    yes = np.zeros(len(is_there), np.bool_)
    yes[is_there] = holds(a.decoded()[is_there], b.decoded()[is_there])
    return Truth(yes, is_there & ~yes)


def _within(node: Within) -> Mask:
    if isinstance(node.container, Listing) and _is_number(node.value):
        return _number_within(_number(node.value), cast(tuple[float, ...], node.container.values))
    value, container = _string(node.value), _strings(node.container)

    def within(view: View) -> Truth:
        one, many = value(view), container(view)
        if one is None or many is None:
            return NEITHER
        if isinstance(one, Strings):
            return one.one_of(many)
        if isinstance(many, Lists):
            return many.having(one)
        return Truth(yes := one in many, not yes)

    return within


def _number_within(value: Value, wanted: tuple[float, ...]) -> Mask:
    def within(view: View) -> Truth:
        one = value(view)
        yes = one in wanted if isinstance(one, float) else np.isin(one, wanted)
        return Truth(yes, (one == one) & (yes ^ True))

    return within


def _text_test(node: TextTest) -> Mask:
    subject, argument, holds = _string(node.subject), _string(node.argument), _TESTS[node.test]

    def tested(view: View) -> Truth:
        a, b = subject(view), argument(view)
        if a is None or b is None:
            return NEITHER
        if isinstance(a, Strings):
            return a.lifted(lambda name: holds(name, b))
        if isinstance(b, Strings):
            return b.lifted(lambda name: holds(a, name))
        return Truth(yes := holds(a, b), not yes)

    return tested


def _exists(node: Exists) -> Mask:
    """Ask once per distinct member, then say which items have one that does, or one that does not."""
    members, body, is_of_items = _strings(node.field), _mask(node.body), node.field.of_items

    def exists(view: View) -> Truth:
        many = members(view)
        if many is None:
            return NEITHER
        lists = many if isinstance(many, Lists) else _one_list(many)
        yes, no, neither = lists.members(lambda distinct: body(View(lambda name, kind: distinct, view.scalar)))
        is_said = lists.is_there & ~neither
        yes, no = (is_said & ~no, no) if node.every else (yes, is_said & ~yes)
        return Truth(yes, no) if is_of_items else Truth(bool(yes[0]), bool(no[0]))

    return exists


def _one_list(members: Iterable[str]) -> Lists:
    vocabulary = Vocabulary()
    return cast(Lists, column(encoded([list(members)], "strings", vocabulary), "strings", vocabulary))


def _is_number(node: Node) -> bool:
    return (isinstance(node, Field) and node.kind == "number") or (
        isinstance(node, Literal) and type(node.value) is float
    )


def _number(node: Node) -> Value:
    """Return the numbers of a field or literal, NaN where there is none."""
    if isinstance(node, Field) and not node.of_items:
        name = node.name
        return lambda view: _as_number(view.scalar(name))
    return _value(node)


def _as_number(said: Scalar) -> float:
    """Return a number, NaN for what is none; a bool is none, though an int to Python."""
    return float(said) if isinstance(said, int | float) and not isinstance(said, bool) else math.nan


def _string(node: Node) -> Value:
    """Return the string of a literal or a request's field, None where there is none, or those of items."""
    if isinstance(node, Field) and not node.of_items:
        name = node.name
        return lambda view: said if isinstance(said := view.scalar(name), str) else None
    return _value(node)


def _strings(node: Node) -> Value:
    """Return the list of a literal or a request's field, None where there is none, or those of items."""
    if isinstance(node, Field) and not node.of_items:
        name = node.name
        return lambda view: said if isinstance(said := view.scalar(name), list) else None
    return _value(node)


def _value(node: Node) -> Value:
    match node:
        case Literal():
            constant: Any = node.value
            return lambda view: constant
        case Listing():
            values = frozenset(node.values)
            return lambda view: values
        case Field():
            name, kind = node.name, node.kind
            return lambda view: view.column(name, kind)
    raise TypeError(f"{type(node).__name__} is no value")
