from __future__ import annotations

import pytest

from online.core.rules.syntax import MAX_DEPTH, MAX_LISTED, ExpressionError, Literal, parse
from schemas.slate import MAX_EXPRESSION


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: the expression is empty"),
        ("item.brand ==", "column 14: the expression ends too early"),
        ("item.brand = 'a'", "column 12: this is not CEL: an operator such as =="),
        ("true &&\n  item.brand = 'a'", "column 22: this is not CEL"),
        ("item.price * 2.0 < 3.0", "column 1: arithmetic is not part of rules: compute the value in the caller"),
        ("true ? true : false", "column 1: `?:` is not part of rules: use && and ||"),
        ("item.brand == null", "column 15: literals are strings, numbers, true and false; has(field) asks"),
        ("size(item.tags) > 1", "column 1: the only function is has(field)"),
        ("item.brand.matches('(a+)+$')", "column 1: methods are startsWith, endsWith, contains, exists and all"),
        ("item.tags.exists('a')", "column 1: exists is written field.exists(t, condition on t)"),
        ("has(item.brand, item.price)", "column 1: has() takes one field"),
        ("item.price in [1.0, 'a']", "column 15: a list holds literals, all strings or all numbers"),
        ("item.tags[0] == 'a'", "column 1: a field is a name such as"),
        ("item.attributes.size.eu == 4.0", "column 1: a field is a name such as"),
        (r"item.brand == '\ud800'", "column 15: an escape in this string stands for no character"),
        ("item.price < 1e999", "column 14: a number is at most about 1.8e308"),
        ("item.price < 0x" + "F" * 400, "column 14: a number is at most about 1.8e308"),
        ("-item.price < 1.0", "column 1: a minus sign stands before a number only"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as error:
        parse(text)

    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "item.brand == 'a'" + " " * MAX_EXPRESSION,
        "!" * (MAX_DEPTH + 1) + "true",
        "!(" * 500 + "true" + ")" * 500,
        "context" + "[context" * 400 + "]" * 400 + " == 1",
        f"item.price in [{', '.join(['1'] * (MAX_LISTED + 1))}]",
    ],
)
def test_what_would_take_long_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_a_long_chain_is_not_deep() -> None:
    assert len(parse("||".join(["item.price==1"] * 130)).parts) == 130  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12.0),
        ("-2.5e1", -25.0),
        ("0x1F", 31.0),
        ("007", 7.0),
        ("true", True),
        (r"'a\tb'", "a\tb"),
        (r"r'a\tb'", r"a\tb"),
    ],
)
def test_literals_mean_what_the_language_says(text: str, value: object) -> None:
    tree = parse(text)

    assert isinstance(tree, Literal)
    assert tree.value == value
