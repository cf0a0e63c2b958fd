from __future__ import annotations

import json
from typing import Any

import celpy
import numpy as np
import pytest
from celpy.celtypes import BoolType
from hypothesis import given, settings
from hypothesis import strategies as st

from online.core.decay import DAY_S
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.rules.check import condition_on_items, condition_on_request
from online.core.rules.column import NEITHER, Truth
from online.core.rules.kept_columns import ItemColumns, KeptColumns
from online.core.rules.mask import View, compiled
from online.core.rules.syntax import ExpressionError
from schemas.item import Item

NOW = 1_700_000_000.0
CEL = celpy.Environment()  # here, since it moves the recursion limit, which Hypothesis watches
NAMES = ("acme", "bolt", "ac", "")


def items(*documents: dict[str, Any]) -> ItemTable:
    """A table of items i0, i1, ... with these fields, ten days old, and one item that only events have named."""
    table = ItemTable(partitions=1)
    for n, fields in enumerate(documents):
        table.put(Item(item_id=f"i{n}", updated_at=NOW, created_at=NOW - 10 * DAY_S, **fields))
    table.put_statistics(0, "undocumented", ItemStats(NOW, [1.0] * table.halves, {}, NOW - DAY_S, NOW))
    return table


def truth(
    text: str, table: ItemTable, request: dict[str, Any] | None = None, kept: KeptColumns | None = None
) -> list[bool | None]:
    """What the mask says of each row: true, false or neither."""
    rows = np.arange(len(table), dtype=np.int32)
    said = compiled(condition_on_items(text))(
        View(ItemColumns(table, rows, NOW, kept or KeptColumns()), (request or {}).get)
    )
    yes, no = (np.broadcast_to(mask, len(rows)).tolist() for mask in said)
    assert not any(y and n for y, n in zip(yes, no, strict=True))
    return [True if y else False if n else None for y, n in zip(yes, no, strict=True)]


def interpreted(text: str, item: dict[str, Any], request: dict[str, Any]) -> bool | None:
    """What the library's own interpreter says of one item; None for its errors."""
    activation: dict[str, Any] = {"item": item, "user": {}, "context": {}, "request": {}}
    for name, value in request.items():
        group, _, field = name.partition(".")
        if field:
            activation[group][field] = value
        else:
            activation[group] = value
    given = {name: celpy.json_to_cel(value) for name, value in activation.items()}
    try:
        result = CEL.program(CEL.compile(text)).evaluate(given)
    except celpy.CELEvalError:
        return None
    assert isinstance(result, BoolType | bool)
    return bool(result)


def as_map(item: Item | None, item_id: str) -> dict[str, Any]:
    """An item as CEL sees it: what it does not have is no key."""
    if item is None:
        return {"item_id": item_id, "attributes": {}}
    fields = {name: getattr(item, name) for name in ("brand", "price", "owner_id", "categories", "tags", "available")}
    return {
        "item_id": item.item_id,
        "attributes": item.attributes,
        **{name: value for name, value in fields.items() if value is not None},
    }


def known(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


STRING, NUMBER = st.sampled_from(NAMES), st.sampled_from([0.0, 1.0, 2.5])
STRINGS = st.lists(STRING, max_size=3)
DOCUMENT = st.fixed_dictionaries(
    {
        "brand": known(STRING),
        "owner_id": known(STRING),
        "price": known(NUMBER),
        "categories": STRINGS,
        "tags": STRINGS,
        "attributes": st.fixed_dictionaries(
            {}, optional={"color": STRING, "size": NUMBER, "is_sale": st.booleans(), "fits": STRINGS}
        ),
    }
)
REQUEST = st.fixed_dictionaries(
    {"surface": STRING, "user.labels": STRINGS, "user.liked_brands": STRINGS, "request.hour": NUMBER},
    optional={"user.user_id": STRING, "context.device": STRING, "context.budget": NUMBER, "context.vip": st.booleans()},
)

OF_ITEM = {
    "string": ["item.item_id", "item.brand", "item.owner_id", "item.attributes.color", 'item.attributes["color"]'],
    "number": ["item.price", "item.attributes.size"],
    "bool": ["item.available", "item.attributes.is_sale"],
    "strings": ["item.categories", "item.tags", "item.attributes.fits"],
}
OF_REQUEST = {
    "string": ["surface", "user.user_id", "context.device"],
    "number": ["request.hour", "context.budget"],
    "bool": ["context.vip"],
    "strings": ["user.labels", "user.liked_brands"],
}
LITERALS = {"string": STRING.map(json.dumps), "number": NUMBER.map(str), "bool": st.sampled_from(["true", "false"])}
TESTS = st.sampled_from(["startsWith", "endsWith", "contains"])


def scalars(kind: str) -> st.SearchStrategy[str]:
    return st.sampled_from(OF_REQUEST[kind]) | LITERALS[kind]


def listed(kind: str) -> st.SearchStrategy[str]:
    return st.lists(LITERALS[kind], min_size=1, max_size=3).map(lambda values: f"[{', '.join(values)}]")


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["string", "number", "bool"]))
    order = draw(st.sampled_from(["==", "!="] if kind == "bool" else ["==", "!=", "<", "<=", ">", ">="]))
    item = st.sampled_from(OF_ITEM[kind])
    sides = [draw(item | scalars(kind)), draw(scalars(kind))]
    if not (kind == "string" and all("attributes" in side or "context" in side for side in sides)):
        sides = draw(st.permutations(sides))
    return f"{sides[0]} {order} {sides[1]}"


@st.composite
def memberships(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        return f"{draw(scalars('string'))} in {draw(st.sampled_from(OF_ITEM['strings']))}"
    kind = draw(st.sampled_from(["string", "number"]))
    lists = listed(kind) | (st.sampled_from(OF_REQUEST["strings"]) if kind == "string" else st.nothing())
    return f"{draw(st.sampled_from(OF_ITEM[kind]) | scalars(kind))} in {draw(lists)}"


@st.composite
def text_tests(draw: st.DrawFn) -> str:
    sides = draw(st.permutations([draw(st.sampled_from(OF_ITEM["string"])), draw(scalars("string"))]))
    return f"{sides[0]}.{draw(TESTS)}({sides[1]})"


@st.composite
def quantified(draw: st.DrawFn) -> str:
    fields = st.sampled_from(OF_ITEM["strings"] + OF_REQUEST["strings"])
    body = draw(
        st.sampled_from(["t == {}", "t != {}", "!(t < {})", 't != "acme" && t == {}']).flatmap(
            lambda form: scalars("string").map(form.format)
        )
        | st.tuples(TESTS, LITERALS["string"]).map(lambda test: f"t.{test[0]}({test[1]})")
        | listed("string").map("t in {}".format)
    )
    return f"{draw(fields)}.{draw(st.sampled_from(['exists', 'all']))}(t, {body})"


FIELDS = [field for side in (OF_ITEM, OF_REQUEST) for fields in side.values() for field in fields]
PRESENCE = st.sampled_from([f for f in FIELDS if "." in f and '"' not in f]).map("has({})".format)
ATOMS = comparisons() | memberships() | text_tests() | quantified() | PRESENCE | LITERALS["bool"]
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: (
        inner.map("!({})".format)
        | st.tuples(inner, inner).map("({0[0]} && {0[1]})".format)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' || '.join(parts)})")
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=120)
@given(EXPRESSIONS, st.lists(DOCUMENT, min_size=1, max_size=4), REQUEST)
def test_a_mask_says_of_every_item_what_the_interpreter_of_the_language_says(
    text: str, documents: list[dict[str, Any]], request: dict[str, Any]
) -> None:
    table = items(*documents)

    expected = [interpreted(text, as_map(table.documents.get(name), name), request) for name in table.ids.names]

    kept = KeptColumns()
    assert truth(text, table, request, kept) == expected  # from documents
    kept.build(table)
    assert truth(text, table, request, kept) == expected  # from columns, those that were asked for


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item.attributes.size == 'L'", [None, True, None]),
        ("item.attributes.size != 'L'", [None, False, None]),
        ("item.attributes.size > 3", [True, None, None]),
        ("item.attributes.size in ['L', 'M']", [None, True, None]),
        ("'L' in item.attributes.size", [None, None, True]),
        ("item.attributes.size", [None, None, None]),
        ("has(item.attributes.size)", [True, True, True]),
    ],
)
def test_an_attribute_of_another_kind_compares_to_nothing(text: str, said: list[bool | None]) -> None:
    table = items(*({"attributes": {"size": size}} for size in (5, "L", ["L", 4])))

    assert truth(text, table)[:3] == said


@pytest.mark.parametrize(("given", "said"), [(5, [True, None]), ("L", [None, True]), ([], [None, None])])
def test_what_the_request_brings_says_what_two_open_fields_are_compared_as(given: Any, said: list[bool | None]) -> None:
    table = items({"attributes": {"size": 5}}, {"attributes": {"size": "L"}})

    assert truth("item.attributes.size == context.size", table, {"context.size": given})[:2] == said


def test_all_categories_and_tags_of_an_item_count() -> None:
    table = items({"categories": [f"c{n}" for n in range(12)]})

    assert truth("'c11' in item.categories", table)[0] is True


def test_what_moves_is_read_at_the_moment_of_the_request() -> None:
    table = items({})

    assert truth("item.age_days < 9.5", table) == [False, True]
    assert truth("item.popularity > 0", table) == [False, True]


def test_prices_of_items_are_compared_with_one_another() -> None:
    table = items({"price": 5.0, "attributes": {"list_price": 8}}, {"price": 5.0, "attributes": {"list_price": 5}}, {})

    assert truth("item.price < item.attributes.list_price", table)[:3] == [True, False, None]


def test_a_condition_on_the_request_alone_is_plain_true_or_false() -> None:
    is_on = compiled(condition_on_request("surface in ['home', 'cart'] && !(context.device == 'tv')"))

    assert is_on(View(lambda name, kind: NEITHER, {"surface": "home", "context.device": "phone"}.get)) == (True, False)
    assert is_on(View(lambda name, kind: NEITHER, {"surface": "home"}.get)) == Truth(False, False)


SIGNS = ["(", ")", "[", "]", ".", ",", "==", "<", "in", "&&", "||", "!", "{", "?"]
WORDS = [*FIELDS, *SIGNS, "t", "has", "exists", "all", "startsWith", "1", "-2.5", "1e400", "0x1F", "true", "null"]
SOUP = st.lists(st.sampled_from(WORDS) | STRING.map(json.dumps), max_size=12).map(" ".join)
ANYTHING = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=3)
)


@settings(deadline=None, max_examples=300)
@given(SOUP | EXPRESSIONS, st.dictionaries(st.sampled_from(FIELDS), ANYTHING | st.lists(STRING, max_size=2)))
def test_nothing_that_a_client_sends_breaks_anything_but_the_expression(text: str, said: dict[str, Any]) -> None:
    attributes = {name.removeprefix("item.attributes."): v for name, v in said.items() if "attributes" in name}
    request = {name: v for name, v in said.items() if name.startswith("context")} | {"user.labels": [], "surface": ""}
    try:
        condition_on_items(text)
    except ExpressionError:
        return
    truth(text, items({"attributes": attributes}), request)
