"""User documents: what the edge accepts is what the log gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.user import User, UserIn, accept_user, decode_user, encode_user

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_700_000_000.0

LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.text(st.characters(codec="utf-8"), max_size=12) | st.booleans() | INTEGERS | FINITE | st.none()
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.lists(LABELS, max_size=3),
        "context": st.dictionaries(LABELS, SCALARS, max_size=4),
        "attributes": st.dictionaries(LABELS, SCALARS | st.lists(SCALARS, max_size=3), max_size=4),
    },
)


@given(DOCUMENTS)
def test_an_accepted_user_comes_back_from_the_log_with_the_same_values(document: dict[str, Any]) -> None:
    edge = UserIn.model_validate_json(json.dumps(document))

    decoded = decode_user(encode_user(accept_user(edge, user_id="7", now=NOW)))

    assert (decoded.user_id, decoded.updated_at, decoded.schema_version) == ("7", NOW, 1)
    assert (decoded.labels, repr(decoded.context)) == (edge.labels, repr(edge.context))
    assert repr(decoded.attributes) == repr(edge.attributes)


def test_a_full_user_of_version_1_keeps_every_value() -> None:
    payload = (GOLDEN / "user.json").read_bytes()
    assert json.loads(encode_user(decode_user(payload))) == json.loads(payload)


def test_a_minimal_user_of_version_1_stays_one() -> None:
    user = decode_user((GOLDEN / "user_minimal.json").read_bytes())
    assert user == User(user_id="u", updated_at=NOW)
    assert user.schema_version == 1


def test_a_client_of_version_1_is_understood() -> None:
    edge = UserIn.model_validate_json((GOLDEN / "user_in.json").read_bytes())
    assert edge.model_dump() == {
        "user_id": "17",
        "labels": ["vip"],
        "context": {"country": "DE", "age": 30},
        "attributes": {"address": {"city": "Köln"}},
        "schema_version": 1,
    }


def test_fields_of_a_newer_version_are_ignored() -> None:
    known = json.loads((GOLDEN / "user.json").read_bytes())
    newer = decode_user(json.dumps(known | {"schema_version": 2, "pronouns": "they"}).encode())
    assert newer.schema_version == 2
    assert json.loads(encode_user(msgspec.structs.replace(newer, schema_version=1))) == known


@pytest.mark.parametrize("document", [{"labels": "vip"}, {"context": {"a": []}}, {"name": "x"}, {"schema_version": 2}])
def test_a_document_that_is_no_user_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        UserIn.model_validate(document)
