"""Times, ids and the rules of edge documents."""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.fields import EPOCH_MAX_S, Context, Document, Edge, Finite, Id, Label, epoch_seconds

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30))  # noqa: DTZ001  the zone is drawn apart
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(MOMENTS, ZONES)
def test_rfc_3339_text_means_the_same_moment_in_every_zone(moment: datetime, zone: timezone) -> None:
    text = moment.replace(tzinfo=UTC).astimezone(zone).isoformat()
    assert epoch_seconds(text) == moment.replace(tzinfo=UTC).timestamp()


@given(MOMENTS)
def test_a_time_without_a_zone_is_utc(moment: datetime) -> None:
    assert epoch_seconds(moment.isoformat()) == epoch_seconds(moment.isoformat() + "Z")


@given(st.integers(100_000_001, int(EPOCH_MAX_S)))
def test_seconds_milliseconds_and_their_text_agree(seconds: int) -> None:
    assert epoch_seconds(seconds) == epoch_seconds(seconds * 1000) == epoch_seconds(str(seconds)) == float(seconds)


@pytest.mark.parametrize(
    "value", [True, None, [], "soon", "", -1, EPOCH_MAX_S + 1, math.nan, math.inf, "nan", "-inf", "1e999", 1e20]
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="time"):
        epoch_seconds(value)


@pytest.mark.parametrize(("value", "kept"), [("a b", "a b"), (7, "7"), (-1, "-1"), ("ü" * 256, "ü" * 256)])
def test_an_id_is_kept_as_text(value: Any, kept: str) -> None:
    assert TypeAdapter(Id).validate_python(value) == kept


@pytest.mark.parametrize("value", ["", "x" * 257, "a\nb", "a\n", "\x00", "\x7f", True, 1.5, None])
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Id).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Label, "x" * 129),
        (Label, "a\tb"),
        (Context, {"k": "x" * 1025}),
        (Context, {"k": [1]}),
        (Context, {str(i): 1 for i in range(33)}),
        (Context, {"": 1}),
        (Document, {str(i): 1 for i in range(257)}),
        (Document, {"k": object()}),
        (Document, {"k": [{"deep": math.inf}]}),
        (Finite, math.nan),
        (Finite, math.inf),
    ],
)
def test_what_is_too_large_or_no_value_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


class _Sample(Edge):
    some_field: int = 0
    weight: float = 0.0
    context: Context = {}
    properties: Document = {}


def test_an_edge_document_takes_both_spellings_and_gives_snake_case() -> None:
    assert _Sample.model_validate({"someField": 1}) == _Sample.model_validate({"some_field": 1})
    assert _Sample.model_validate({"someField": 1}).model_dump(exclude_unset=True) == {"some_field": 1}


@pytest.mark.parametrize("document", [{"somefield": 1}, {"weight": math.nan}, {"weight": math.inf}])
def test_an_edge_document_refuses_unknown_fields_and_numbers_that_are_none(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _Sample.model_validate(document)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("place", ["weight", "context", "properties"])
def test_a_number_that_json_cannot_hold_is_refused_in_json_text_too(place: str, number: str) -> None:
    value = number if place == "weight" else f'{{"k": {number}}}'
    with pytest.raises(ValidationError):
        _Sample.model_validate_json(f'{{"{place}": {value}}}')


def test_an_edge_document_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _Sample().some_field = 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (2**64, "integers have at most 64 bits"),
        (-(2**63) - 1, "integers have at most 64 bits"),
        (math.inf, "numbers must be finite"),
        ([[{"x": [math.nan]}]], "numbers must be finite"),
        (functools.reduce(lambda inner, _: [inner], range(15), 1), "values are nested at most 15 deep"),
    ],
)
def test_a_free_field_holds_only_what_every_reader_of_it_can(value: object, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TypeAdapter(Document).validate_python({"x": value})


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 1.5, functools.reduce(lambda inner, _: [inner], range(14), 1)])
def test_a_free_field_holds_numbers_of_64_bits_and_lists_in_lists(value: object) -> None:
    assert TypeAdapter(Document).validate_python({"x": value}) == {"x": value}
