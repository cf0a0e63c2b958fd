"""Slates: requests as clients of several products write them, and the record on the log."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.slate import DEFAULT_SLATE, MAX_SLATE, RecommendIn, Slate, SlateOut, decode_slate, encode_slate

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["n", "count", "num_results", "numResults", "page_size", "pageSize"])
def test_the_number_of_items_has_the_name_of_every_product(name: str) -> None:
    assert RecommendIn.model_validate({"user_id": "1", name: 7}).n == 7


def test_a_request_without_a_number_asks_for_the_default() -> None:
    assert RecommendIn(user_id="1").n == DEFAULT_SLATE


@pytest.mark.parametrize("document", [{"user_id": 1}, {"visitorId": "v"}, {"session_items": ["a"]}, {"itemId": "a"}])
def test_a_request_names_a_user_a_visitor_a_session_or_an_item(document: dict[str, Any]) -> None:
    assert RecommendIn.model_validate(document).model_fields_set


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"user_id": "1", "n": 0},
        {"user_id": "1", "n": MAX_SLATE + 1},
        {"user_id": "1", "exploration": 1.5},
        {"user_id": "1", "diversity": -0.1},
        {"user_id": "1", "seed": 2**63},
        {"user_id": "1", "userid": "2"},
    ],
)
def test_a_document_that_is_no_request_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RecommendIn.model_validate(document)


def test_a_client_of_version_1_is_understood() -> None:
    edge = RecommendIn.model_validate_json((GOLDEN / "recommend_in.json").read_bytes())
    assert edge.model_dump() == {
        "user_id": "17",
        "visitor_id": "v-1",
        "session_id": "s-1",
        "surface": "home",
        "n": 5,
        "item_id": "shoe-42",
        "session_items": ["a", "2"],
        "context": {"device": "phone"},
        "filter": None,
        "boost": [],
        "exclude_item_ids": ["b"],
        "exclude_seen": True,
        "exclude_purchased": False,
        "exclude_in_cart": True,
        "diversity": 0.5,
        "exploration": 0.1,
        "return_properties": ["brand"],
        "explain": True,
        "policy": "personal-1",
        "seed": 7,
        "deadline_ms": None,
        "timestamp": 1700000000.0,
    }


def slate(candidates: int, slots: list[int], seed: int, features: list[float]) -> Slate:
    return Slate(
        recommendation_id="2-018bcfe5687d0011",
        decision_id="2-018bcfe5687d0011",
        partition=2,
        user_key="u17",
        surface="home",
        time=1700000000.0,
        served_at=1700000000.25,
        n=len(slots),
        request={"user_id": "17", "context": {"device": "phone"}},
        session_items=["a"],
        record_position="0000001700000000-00000000000000000000.9999",
        updates={0: 7, 3: 2**40},
        model_version="12",
        index_version=3,
        policy_id="personal-1",
        rung="personal",
        why="",
        tau=0.25,
        epsilon=0.05,
        diversity=0.3,
        seed=seed,
        candidates=[f"item-{i}" for i in range(candidates)],
        feature_names=["popularity"],
        source_names=["popular", "new"],
        features=np.array(features, "<f4").tobytes(),
        utilities=np.array(features, "<f8").tobytes(),
        groups=np.zeros((candidates, 2), "<i4").tobytes(),
        eligible=np.ones(candidates, np.uint8).tobytes(),
        sources=np.ones(candidates, np.uint8).tobytes(),
        slots=slots,
        propensities=[1.0 / candidates] * len(slots),
        removed={"seen": 1},
        ope_valid=False,
        ope_why="client seed",
        stages_us={"slots": 12.5},
    )


@given(st.integers(0, 2**63 - 1), st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5))
def test_a_slate_comes_back_from_the_log_with_the_same_bytes_and_numbers(seed: int, features: list[float]) -> None:
    kept = slate(len(features), [0], seed, features)
    decoded = decode_slate(encode_slate(kept))
    assert decoded == kept
    assert np.frombuffer(decoded.features, "<f4").tolist() == features


def test_a_slate_of_version_1_keeps_every_value() -> None:
    golden = json.loads((GOLDEN / "slate.json").read_bytes())
    decoded = decode_slate(base64.b64decode(golden["payload"]))
    assert json.loads(msgspec.json.encode(decoded)) == golden["decoded"]
    assert decoded == slate(2, [1, 0], 7, [0.5, -1.25])
    assert decoded.schema_version == 1


def test_fields_of_a_newer_slate_are_ignored() -> None:
    kept = slate(2, [1, 0], 7, [0.5, -1.25])
    newer = {**msgspec.msgpack.decode(encode_slate(kept)), "schema_version": 2, "mood": [1]}
    decoded = decode_slate(msgspec.msgpack.encode(newer))
    assert decoded.schema_version == 2
    assert msgspec.structs.replace(decoded, schema_version=1) == kept


def test_an_answer_has_null_for_what_is_not_known() -> None:
    answer = SlateOut.model_validate(
        {
            "recommendation_id": "r",
            "decision_id": "r",
            "items": [
                {
                    "item_id": "a",
                    "position": 1,
                    "score": 0.5,
                    "propensity": 0.25,
                    "source": "popular",
                    "reason": {"code": "popular", "text": "Popular now"},
                }
            ],
            "policy_id": "personal-1",
            "model_version": "prior",
            "fallback": None,
            "state_as_of": {"position": None, "lag_ms": None},
            "ope_valid": True,
            "took_ms": 1.5,
        }
    )
    assert (answer.items[0].reason.item_id, answer.experiment, answer.next_cursor) == (None, None, None)


def test_a_candidate_names_its_sources_whatever_their_number() -> None:
    wide = slate(2, [0], 7, [0.5, -1.25])
    wide.source_names = [f"s{n}" for n in range(9)]
    wide.sources = bytes([0b101, 0, 0, 1])

    assert slate(2, [0], 7, [0.5, -1.25]).sources_of(1) == ["popular"]
    assert [wide.sources_of(candidate) for candidate in (0, 1)] == [["s0", "s2"], ["s8"]]
