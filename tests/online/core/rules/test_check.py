from __future__ import annotations

import pytest

from online.core.rules.check import condition_on_items, condition_on_request
from online.core.rules.syntax import ExpressionError
from online.core.rules.vocabulary import FIELDS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item.colour == 'red'", "column 1: there is no item.colour: item has "),
        ("true && item.catgories == 'a'", "column 9: there is no item.catgories: did you mean item.categories?"),
        ("brand == 'a'", "column 1: there is no brand: did you mean item.brand?"),
        ("item.attributes['<b>'].x == 1", "column 1: a field is a name"),
        ("item['<script>'] == 'a'", "column 1: a field is a name"),
        ("item.price == 'a'", "column 1: item.price is a number and this is a string"),
        ("item.brand", "column 1: item.brand is a string, no condition: compare it with something"),
        ("'a'", "column 1: this is a value, no condition: compare it with something"),
        ("item.tags == 'a'", "column 1: item.tags is a list of strings and this is a string"),
        ("item.tags == item.categories", "column 1: a list is not compared: write value in list"),
        ("item.tags.contains('a')", "column 1: contains is for strings, and item.tags is a list of strings: write"),
        ("item.available < true", "column 1: true and false have no order"),
        ("(item.price < 1.0) == true", "column 2: conditions are not compared: join them by &&, || and !"),
        ("item.price in item.tags", "column 1: item.price is a number, and the list holds strings"),
        ("'a' in item.brand", "column 8: `in` asks for a list, and item.brand is a string"),
        ("item.brand in item.tags", "column 1: at most one side of this can be of the item"),
        ("item.brand.startsWith(item.owner_id)", "column 1: at most one side of this can be of the item"),
        ("item.attributes.a == item.attributes.b", "column 1: nothing says what these two are"),
        ("item.brand.exists(t, t == 'a')", "column 1: exists and all are for lists, and item.brand is a string"),
        ("item.tags.exists(t, t == item.brand)", "column 26: within exists, conditions are on t: item.brand cannot"),
        ("item.tags.exists(t, item.tags.all(u, u == t))", "column 21: within exists, conditions are on t: item.tags"),
        ("user.labels.exists(t, context.l.all(u, u == t))", "column 23: exists and all do not stand within"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as error:
        condition_on_items(text)

    assert str(error.value).startswith(message)


def test_a_condition_on_requests_names_nothing_of_items() -> None:
    with pytest.raises(ExpressionError, match=r"this is on the request: item\.price cannot stand here"):
        condition_on_request("surface == 'home' && item.price < 1.0")


@pytest.mark.parametrize(
    ("text", "is_settled"),
    [
        ("item.brand == 'a' && item.price < 5", True),
        ("item.tags.exists(t, t.startsWith('x'))", True),
        ("item.age_days < 7", False),
        ("item.popularity > 1", False),
        ("item.brand in user.liked_brands", False),
        ("item.tags.exists(t, t == context.season)", False),
    ],
)
def test_a_condition_is_settled_when_the_document_alone_decides_it(text: str, is_settled: bool) -> None:
    assert condition_on_items(text).is_settled is is_settled


@pytest.mark.parametrize("name", [name.replace("*", "any_name") for name in FIELDS])
def test_every_field_can_be_asked_for(name: str) -> None:
    assert condition_on_items(f"has({name})").fields == {name}
