"""Catalogue items: what the edge accepts is what the log gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.item import Item, ItemIn, accept_item, decode_item, encode_item, price_tier

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_700_000_000.0

LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
JSON_VALUES = st.recursive(
    st.text(st.characters(codec="utf-8"), max_size=12) | st.booleans() | INTEGERS | FINITE | st.none(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(LABELS, parts, max_size=3),
    max_leaves=6,
)
TIMES = st.floats(0, 4e9)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "categories": st.lists(LABELS, max_size=3),
        "tags": st.lists(LABELS, max_size=3),
        "brand": LABELS,
        "price": st.floats(0, 1e12),
        "available": st.booleans(),
        "available_from": TIMES,
        "available_to": TIMES,
        "owner_id": LABELS,
        "group_id": LABELS,
        "regions": st.lists(LABELS, max_size=3),
        "embedding": st.lists(FINITE, max_size=4),
        "attributes": st.dictionaries(LABELS, JSON_VALUES, max_size=3),
        "created_at": TIMES,
    },
)


@given(DOCUMENTS)
def test_an_accepted_item_comes_back_from_the_log_with_the_same_values(document: dict[str, Any]) -> None:
    edge = ItemIn.model_validate_json(json.dumps(document))

    decoded = decode_item(encode_item(accept_item(edge, item_id="a", now=NOW)))

    expected = edge.model_dump(exclude={"item_id", "created_at"})
    assert {name: getattr(decoded, name) for name in expected} == expected
    assert (decoded.item_id, decoded.updated_at, decoded.deleted) == ("a", NOW, False)
    assert repr(decoded.attributes) == repr(edge.attributes)


@pytest.mark.parametrize(
    ("given_at", "known_at", "kept"), [(0.0, 5.0, 0.0), (3.0, 5.0, 3.0), (None, 0.0, 0.0), (None, None, NOW)]
)
def test_the_first_seen_time_is_the_clients_else_the_known_one_else_now(
    given_at: float | None, known_at: float | None, kept: float
) -> None:
    assert accept_item(ItemIn(created_at=given_at), item_id="a", now=NOW, created_at=known_at).created_at == kept


def test_a_full_item_of_version_1_keeps_every_value() -> None:
    payload = (GOLDEN / "item.json").read_bytes()
    assert json.loads(encode_item(decode_item(payload))) == json.loads(payload)


def test_a_minimal_item_of_version_1_stays_one() -> None:
    item = decode_item((GOLDEN / "item_minimal.json").read_bytes())
    assert item == Item(item_id="a", updated_at=NOW, created_at=NOW)
    assert item.schema_version == 1


def test_a_client_of_version_1_is_understood() -> None:
    edge = ItemIn.model_validate_json((GOLDEN / "item_in.json").read_bytes())
    assert edge.model_dump() == {
        "item_id": "shoe-42",
        "categories": ["shoes", "running"],
        "tags": ["new"],
        "brand": "Zephyr",
        "price": 79.9,
        "available": False,
        "available_from": 1690000000.0,
        "available_to": 1800000000.0,
        "owner_id": "5",
        "group_id": "shoe",
        "regions": ["DE"],
        "embedding": [0.25, -0.5],
        "attributes": {"colour": "blue"},
        "created_at": 1690000000.25,
        "schema_version": 1,
    }


def test_fields_of_a_newer_version_are_ignored() -> None:
    known = json.loads((GOLDEN / "item.json").read_bytes())
    newer = decode_item(json.dumps(known | {"schema_version": 2, "warranty": "2 years"}).encode())
    assert newer.schema_version == 2
    assert json.loads(encode_item(msgspec.structs.replace(newer, schema_version=1))) == known


@pytest.mark.parametrize(
    ("change", "now", "shown"),
    [
        ({}, 5.0, True),
        ({"available": False}, 5.0, False),
        ({"deleted": True}, 5.0, False),
        ({"available_from": 5.0}, 4.9, False),
        ({"available_from": 5.0}, 5.0, True),
        ({"available_to": 5.0}, 4.9, True),
        ({"available_to": 5.0}, 5.0, False),
    ],
)
def test_an_item_is_eligible_from_its_first_moment_until_before_its_last(
    change: dict[str, Any], now: float, shown: bool
) -> None:
    assert Item(item_id="a", updated_at=0.0, created_at=0.0, **change).is_eligible(now) is shown


@given(st.floats(1.0, 1e12), st.floats(1.0, 1e12))
def test_price_tiers_follow_the_price(one: float, other: float) -> None:
    low, high = (int((price_tier(price) or "")[1:]) for price in sorted((one, other)))
    assert low <= high


@given(st.floats(2.0, 1e11))
def test_a_price_of_twice_as_much_is_two_tiers_up(price: float) -> None:
    tiers = [int((price_tier(p) or "")[1:]) for p in (price, 2.0 * price)]
    assert tiers[1] - tiers[0] == 2


@pytest.mark.parametrize(
    "document", [{"price": -1}, {"embedding": [float("nan")]}, {"available_from": "soon"}, {"colour": "blue"}]
)
def test_a_document_that_is_no_item_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ItemIn.model_validate(document)
