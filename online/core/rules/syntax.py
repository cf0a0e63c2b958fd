"""Expressions as trees: the Common Expression Language's parser, and the part of the language that rules speak.

The grammar is that of CEL (https://github.com/google/cel-spec, "Syntax"), read by `celpy`; its tree has a node for each
level of precedence, ours one for each thing that is said. What cannot become a mask over items (arithmetic, `?:`, maps,
regular expressions, macros but `has`, `exists` and `all`) is refused with a word on what to write instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf
from typing import TypeAlias, get_args

from celpy.celparser import CELParseError, CELParser
from celpy.evaluation import celstr
from lark import Token, Tree
from lark.exceptions import UnexpectedToken

from schemas.slate import MAX_EXPRESSION

MAX_DEPTH, MAX_LISTED = 24, 500
MAX_NAME = 40  # of a name that an error repeats
OPEN = ("item.attributes", "context")
"""Fields with fields of any name below them, one level deep."""

Kind: TypeAlias = OneOf["string", "number", "bool", "strings", "any"]
"""What a value is; `any` is decided by what it is compared with."""
Order: TypeAlias = OneOf["==", "!=", "<", "<=", ">", ">="]
Test: TypeAlias = OneOf["startsWith", "endsWith", "contains"]


class ExpressionError(ValueError):
    """An expression that no rule can use: one line, with the place, counted in characters from 1 on."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"column {column}: {message}")
        self.column = column


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | float | bool
    column: int


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of literals, all strings or all numbers."""

    values: tuple[str, ...] | tuple[float, ...]
    column: int


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the vocabulary, or the variable of an `Exists`; `check` says its kind, and whether it is of items."""

    name: str
    column: int
    kind: Kind = "any"
    of_items: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    of: Node
    column: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Two or more parts joined by && (`every`) or by ||."""

    parts: tuple[Node, ...]
    every: bool
    column: int


@dataclass(frozen=True, slots=True)
class Compare:
    order: Order
    left: Node
    right: Node
    column: int


@dataclass(frozen=True, slots=True)
class Within:
    """`value in container`."""

    value: Node
    container: Node
    column: int


@dataclass(frozen=True, slots=True)
class Has:
    field: Field
    column: int


@dataclass(frozen=True, slots=True)
class TextTest:
    test: Test
    subject: Node
    argument: Node
    column: int


@dataclass(frozen=True, slots=True)
class Exists:
    """`field.exists(variable, body)`, or with `every` `field.all(variable, body)`."""

    field: Field
    variable: str
    body: Node
    every: bool
    column: int


Node: TypeAlias = Literal | Listing | Field | Not | Chain | Compare | Within | Has | TextTest | Exists

_ORDERS: dict[str, Order] = {
    "relation_eq": "==", "relation_ne": "!=", "relation_lt": "<", "relation_le": "<=",
    "relation_gt": ">", "relation_ge": ">=",
}  # fmt: skip
_TESTS: dict[str, Test] = {test: test for test in get_args(Test)}
_REFUSED = {
    "expr": "`?:` is not part of rules: use && and ||",
    "addition": "arithmetic is not part of rules: compute the value in the caller and send it in `context`",
    "multiplication": "arithmetic is not part of rules: compute the value in the caller and send it in `context`",
    "ident_arg": "the only function is has(field)",
    "member_object": "messages are not part of rules",
    "map_lit": "maps are not part of rules",
    "dot_ident": "a field does not begin with a dot",
    "dot_ident_arg": "a field does not begin with a dot",
}


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        ExpressionError: it is too long or too deep, is no CEL, or uses what rules do not have.

    >>> parse("item.price < 10")
    Compare(order='<', left=Field(name='item.price', column=1, kind='any', of_items=False), right=Literal(value=10.0, column=14), column=1)
    >>> parse("item.price <")
    Traceback (most recent call last):
    online.core.rules.syntax.ExpressionError: column 13: the expression ends too early
    """  # noqa: E501
    if len(text) > MAX_EXPRESSION:
        raise ExpressionError(MAX_EXPRESSION, f"an expression has at most {MAX_EXPRESSION} characters")
    try:
        tree = CELParser().parse(text)
    except CELParseError as error:
        raise _syntax_error(text, error) from None
    return _node(tree, 0)


def _syntax_error(text: str, error: CELParseError) -> ExpressionError:
    if not text.strip():
        return ExpressionError(1, "the expression is empty")
    cause = error.__context__
    if isinstance(cause, UnexpectedToken) and cause.token.type == "$END":
        return ExpressionError(len(text.rstrip()) + 1, "the expression ends too early")
    before = text.splitlines(keepends=True)[: (error.line or 1) - 1]
    column = sum(map(len, before)) + max(error.column or 1, 1)
    return ExpressionError(column, "this is not CEL: an operator such as ==, in or &&, or a value, is expected here")


def _node(tree: Tree[Token], depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise ExpressionError(_column(tree), f"an expression is nested at most {MAX_DEPTH} deep")
    tree = _collapsed(tree)
    column, inner = _column(tree), depth + 1
    match tree.data:
        case "conditionalor" | "conditionaland":
            return Chain(tuple(_node(t, inner) for t in _operands(tree)), tree.data == "conditionaland", column)
        case "relation":
            operator, right = _trees(tree)
            left, other = _node(_trees(operator)[0], inner), _node(right, inner)
            if operator.data == "relation_in":
                return Within(left, other, column)
            return Compare(_ORDERS[operator.data], left, other, column)
        case "unary":
            sign, of = _trees(tree)
            return Not(_node(of, inner), column) if sign.data == "unary_not" else _negative(_node(of, inner), column)
        case "literal":
            return _literal(tree)
        case "list_lit":
            return _listing(tree, inner)
        case "ident" | "member_dot" | "member_index":
            return Field(_name(tree, inner), column)
        case "ident_arg" if _token(tree, 0) == "has":
            return _has(tree, inner)
        case "member_dot_arg":
            return _call(tree, inner)
    raise ExpressionError(column, _REFUSED.get(tree.data, "this is not part of rules"))


def _collapsed(tree: Tree[Token]) -> Tree[Token]:
    """Skip levels of precedence at which nothing is said, and parentheses."""
    while len(tree.children) == 1 and isinstance(only := tree.children[0], Tree) and tree.data != "list_lit":
        tree = only
    return tree


def _operands(tree: Tree[Token]) -> Iterator[Tree[Token]]:
    """Yield the operands of a chain from left to right; chains lean to the left and may be long."""
    rest, found = tree, list[Tree[Token]]()
    while rest.data == tree.data and len(rest.children) == 2:
        rest, last = _trees(rest)
        found.append(last)
    yield rest
    yield from reversed(found)


def _trees(tree: Tree[Token]) -> list[Tree[Token]]:
    return [child for child in tree.children if isinstance(child, Tree)]


def _token(tree: Tree[Token], at: int) -> str:
    child = tree.children[at]
    return child.value if isinstance(child, Token) else ""


def _column(tree: Tree[Token]) -> int:
    return 1 + (getattr(tree.meta, "start_pos", 0) or 0)  # `true` and `false` have lost theirs


def _negative(of: Node, column: int) -> Literal:
    if isinstance(of, Literal) and type(of.value) is float:
        return Literal(-of.value, column)
    raise ExpressionError(column, "a minus sign stands before a number only")


def _literal(tree: Tree[Token]) -> Literal:
    token, column = tree.children[0], _column(tree)
    assert isinstance(token, Token)
    match token.type:
        case "INT_LIT" | "FLOAT_LIT":
            return Literal(_number(token.value, column), column)
        case "BOOL_LIT":
            return Literal(token.value == "true", column)
        case "STRING_LIT" | "MLSTRING_LIT":
            return Literal(_string(token, column), column)
    raise ExpressionError(column, "literals are strings, numbers, true and false; has(field) asks whether one is there")


def _number(text: str, column: int) -> float:
    try:
        number = float.fromhex(text) if "x" in text else float(text)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ExpressionError(column, "a number is at most about 1.8e308")
    return number


def _string(token: Token, column: int) -> str:
    try:
        text = str(celstr(token))
        text.encode()  # a lone surrogate equals nothing that JSON can bring
    except (ValueError, OverflowError):
        raise ExpressionError(column, "an escape in this string stands for no character") from None
    return text


def _listing(tree: Tree[Token], depth: int) -> Listing:
    column = _column(tree)
    parts = [_node(t, depth) for listed in _trees(tree) for t in _trees(listed)]
    if len(parts) > MAX_LISTED:
        raise ExpressionError(column, f"a list has at most {MAX_LISTED} values: tag the items and compare the tag")
    values = [part.value for part in parts if isinstance(part, Literal)]
    strings, numbers = [v for v in values if type(v) is str], [v for v in values if type(v) is float]
    if len(parts) not in (len(strings), len(numbers)):
        raise ExpressionError(column, "a list holds literals, all strings or all numbers")
    return Listing(tuple(strings) if len(strings) == len(parts) else tuple(numbers), column)


def _name(tree: Tree[Token], depth: int) -> str:
    """Return the dotted name of a field; a["b"] is a.b."""
    tree = _collapsed(tree)
    if depth > MAX_DEPTH:
        raise ExpressionError(_column(tree), f"an expression is nested at most {MAX_DEPTH} deep")
    if tree.data == "ident":
        return _token(tree, 0)
    if tree.data == "member_dot":
        of = _name(_trees(tree)[0], depth + 1)
        if not of.startswith(tuple(f"{name}." for name in OPEN)):
            return f"{of}.{_token(tree, 1)}"
    if tree.data == "member_index":
        of, key = _name(_trees(tree)[0], depth + 1), _node(_trees(tree)[1], depth + 1)
        if of in OPEN and isinstance(key, Literal) and isinstance(key.value, str):
            return f"{of}.{key.value}"
    raise ExpressionError(
        _column(tree), 'a field is a name such as item.brand, item.attributes.color or item.attributes["eu size"]'
    )


def _has(tree: Tree[Token], depth: int) -> Has:
    arguments = _arguments(tree)
    field = _node(arguments[0], depth) if len(arguments) == 1 else None
    if not isinstance(field, Field):
        raise _wrong_call(tree, "has() takes one field: has(item.brand)")
    return Has(field, _column(tree))


def _call(tree: Tree[Token], depth: int) -> TextTest | Exists:
    name, arguments, column = _token(tree, 1), _arguments(tree), _column(tree)
    subject = _node(_trees(tree)[0], depth)
    if name in _TESTS:
        if len(arguments) != 1:
            raise _wrong_call(tree, f"{name} takes one string")
        return TextTest(_TESTS[name], subject, _node(arguments[0], depth), column)
    if name in ("exists", "all"):
        variable = _node(arguments[0], depth) if len(arguments) == 2 else None
        if not isinstance(subject, Field) or not isinstance(variable, Field) or "." in variable.name:
            raise _wrong_call(tree, f"{name} is written field.{name}(t, condition on t)")
        return Exists(subject, variable.name, _node(arguments[1], depth), name == "all", column)
    raise _wrong_call(tree, f"methods are {', '.join(_TESTS)}, exists and all")


def _arguments(tree: Tree[Token]) -> list[Tree[Token]]:
    last = tree.children[-1]
    return _trees(last) if isinstance(last, Tree) and last.data == "exprlist" else []


def _wrong_call(tree: Tree[Token], message: str) -> ExpressionError:
    return ExpressionError(_column(tree), message)
