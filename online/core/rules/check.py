"""Types of expressions: names that exist, comparisons that make sense, and at most one side that is of the item."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

from .syntax import (
    Chain,
    Compare,
    Exists,
    ExpressionError,
    Field,
    Has,
    Kind,
    Listing,
    Literal,
    Node,
    Not,
    TextTest,
    Within,
    parse,
)  # fmt: skip
from .vocabulary import ITEM, find, said, unknown

CACHED = 512  # texts: clients send theirs with requests
N = TypeVar("N", bound=Node)
_SAID = {
    "string": "a string",
    "number": "a number",
    "bool": "true or false",
    "strings": "a list of strings",
    "any": "any",
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition whose every name exists and whose every kind is known."""

    text: str
    tree: Node
    fields: frozenset[str]

    @property
    def is_settled(self) -> bool:
        """Whether an item's document alone decides it."""
        return all(name.startswith(ITEM) and not _moves(name) for name in self.fields)


@lru_cache(maxsize=CACHED)
def condition_on_items(text: str) -> Expression:
    """Return the expression that says which items, for a given request.

    Raises:
        ExpressionError: see `parse`; or a name does not exist, or kinds do not go together.

    >>> condition_on_items("item.price < context.budget").is_settled
    False
    >>> condition_on_items("item.brnad == 'a'")
    Traceback (most recent call last):
    online.core.rules.syntax.ExpressionError: column 1: there is no item.brnad: did you mean item.brand?
    """
    return _checked(text, of_items=True)


@lru_cache(maxsize=CACHED)
def condition_on_request(text: str) -> Expression:
    """Return the expression that says for which requests; it names no field of items.

    Raises:
        ExpressionError: as for `condition_on_items`.
    """
    return _checked(text, of_items=False)


def _checked(text: str, *, of_items: bool) -> Expression:
    check = _Check(of_items)
    tree = check.condition(parse(text))
    return Expression(text, tree, frozenset(check.fields))


def _moves(name: str) -> bool:
    known = find(name)
    return known is not None and known.moves


@dataclass(slots=True)
class _Check:
    of_items: bool
    variable: str = ""  # of the `exists` that is being looked at
    fields: set[str] = field(default_factory=set)

    def condition(self, node: Node) -> Node:
        """Return the node with the kinds of its fields, if it is true or false."""
        match node:
            case Literal() if type(node.value) is bool:
                return node
            case Field():
                if (kind := self._kind(node)) not in ("bool", "any"):
                    raise _refused(node, f"{said(node.name)} is {_SAID[kind]}, no condition: compare it with something")
                return self._as(node, "bool")
            case Not():
                return replace(node, of=self.condition(node.of))
            case Chain():
                return replace(node, parts=tuple(map(self.condition, node.parts)))
            case Compare():
                return self._compare(node)
            case Within():
                return self._within(node)
            case TextTest():
                return self._text_test(node)
            case Has():
                return replace(node, field=self._as(node.field, self._kind(node.field)))
            case Exists():
                return self._exists(node)
        raise _refused(node, "this is a value, no condition: compare it with something")

    def _compare(self, node: Compare) -> Compare:
        left, right = self._kind(node.left), self._kind(node.right)
        kind = left if right == "any" else right
        if {left, right} - {"any", kind}:
            raise _refused(node, f"{_name(node.left)} is {_SAID[left]} and {_name(node.right)} is {_SAID[right]}")
        if kind == "strings":
            raise _refused(node, "a list is not compared: write value in list, or list.exists(t, ...)")
        if kind == "bool" and node.order not in ("==", "!="):
            raise _refused(node, f"true and false have no order: {node.order} is for strings and numbers")
        if kind == "any" and self._is_of_items(node.left) and self._is_of_items(node.right):
            raise _refused(node, "nothing says what these two are: compare attributes with values or with context")
        return replace(node, left=self._as(node.left, kind), right=self._as(node.right, kind))

    def _within(self, node: Within) -> Within:
        value, container = self._kind(node.value), self._kind(node.container)
        if isinstance(node.container, Listing):
            kind: Kind = "number" if any(type(v) is float for v in node.container.values) else "string"
        elif container in ("strings", "any"):
            kind = "string"
        else:
            raise _refused(node.container, f"`in` asks for a list, and {_name(node.container)} is {_SAID[container]}")
        if value not in (kind, "any"):
            raise _refused(node, f"{_name(node.value)} is {_SAID[value]}, and the list holds {kind}s")
        self._one_side(node, node.value, node.container)
        return replace(node, value=self._as(node.value, kind), container=self._as(node.container, "strings"))

    def _text_test(self, node: TextTest) -> TextTest:
        for side in (node.subject, node.argument):
            if (kind := self._kind(side)) not in ("string", "any"):
                hint = ": write value in list" if kind == "strings" else ""
                raise _refused(node, f"{node.test} is for strings, and {_name(side)} is {_SAID[kind]}{hint}")
        self._one_side(node, node.subject, node.argument)
        return replace(node, subject=self._as(node.subject, "string"), argument=self._as(node.argument, "string"))

    def _exists(self, node: Exists) -> Exists:
        if (kind := self._kind(node.field)) not in ("strings", "any"):
            raise _refused(node, f"exists and all are for lists, and {said(node.field.name)} is {_SAID[kind]}")
        if self.variable:
            raise _refused(node, "exists and all do not stand within one another")
        inner = _Check(of_items=False, variable=node.variable, fields=self.fields)
        return replace(node, field=self._as(node.field, "strings"), body=inner.condition(node.body))

    def _as(self, node: N, kind: Kind) -> N:
        if not isinstance(node, Field):
            return node
        return replace(node, kind=kind, of_items=self._is_of_items(node))

    def _one_side(self, node: Node, left: Node, right: Node) -> None:
        if self._is_of_items(left) and self._is_of_items(right):
            raise _refused(node, "at most one side of this can be of the item")

    def _is_of_items(self, node: Node) -> bool:
        return isinstance(node, Field) and (node.name == self.variable or node.name.startswith(ITEM))

    def _kind(self, node: Node) -> Kind:
        match node:
            case Literal():
                kinds: dict[type, Kind] = {str: "string", float: "number", bool: "bool"}
                return kinds[type(node.value)]
            case Listing():
                return "strings"
            case Field() if node.name == self.variable:
                return "string"
            case Field():
                return self._known(node)
        raise _refused(node, "conditions are not compared: join them by &&, || and !")

    def _known(self, node: Field) -> Kind:
        known = find(node.name)
        if known is None:
            raise _refused(node, unknown(node.name))
        if node.name.startswith(ITEM) and not self.of_items:
            where = f"within exists, conditions are on {self.variable}" if self.variable else "this is on the request"
            raise _refused(node, f"{where}: {said(node.name)} cannot stand here")
        self.fields.add(node.name)
        return known.kind


def _name(node: Node) -> str:
    return said(node.name) if isinstance(node, Field) else "this"


def _refused(node: Node, message: str) -> ExpressionError:
    return ExpressionError(node.column, message)
