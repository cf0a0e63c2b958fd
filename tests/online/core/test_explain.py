from __future__ import annotations

import numpy as np
import pytest
from example_slate import example_slate

from online.core.explain import reasons_of
from online.core.features import INDEX, NAMES
from online.core.item_table import ItemTable
from online.core.ranker import PRIOR_RANKER, Ranker
from schemas.item import Item
from schemas.slate import Slate


def slate(*candidates: dict[str, float], slots: list[int] | None = None, session: list[str] | None = None) -> Slate:
    """A slate over candidates with these features, the others 0."""
    features = np.zeros((len(candidates), len(NAMES)), np.float32)
    for row, given in enumerate(candidates):
        for name, value in given.items():
            features[row, INDEX[name]] = value
    return example_slate(
        session_items=session or [],
        tau=1.0,
        epsilon=0.0,
        diversity=0.0,
        candidates=[f"i{n}" for n in range(len(candidates))],
        feature_names=list(NAMES),
        features=features.tobytes(),
        slots=[0] if slots is None else slots,
    )


@pytest.fixture
def table() -> ItemTable:
    table = ItemTable(partitions=1)
    table.put(Item(item_id="i0", updated_at=0.0, created_at=0.0, categories=["{shoes}"], brand="acme"))
    table.put(Item(item_id="i1", updated_at=0.0, created_at=0.0))
    return table


def test_the_reason_is_what_adds_most(table: ItemTable) -> None:
    given = slate({"brand_lasting": 0.9, "popularity": 0.2}, {"popularity": 0.2})

    assert reasons_of(given, table, PRIOR_RANKER) == [
        {"code": "your_brand", "text": "Because you like acme", "item_id": None}
    ]


def test_what_every_candidate_has_alike_explains_none(table: ItemTable) -> None:
    given = slate({"popularity": 1.0, "category_recent": 0.3}, {"popularity": 1.0})

    (reason,) = reasons_of(given, table, PRIOR_RANKER)

    assert (reason["code"], reason["text"]) == ("your_category", "Because you lately look at {shoes}")


def test_the_weights_of_the_served_ranker_decide(table: ItemTable) -> None:
    weights = np.zeros(len(NAMES))
    weights[INDEX["age"]], weights[INDEX["session_knn_score"]] = 1.0, -1.0
    given = slate({"age": 0.5, "session_knn_score": 1.0}, {}, session=["s"])

    assert reasons_of(given, table, Ranker("1", weights, 0.0))[0]["code"] == "new"


def test_a_reason_that_follows_from_an_item_names_it(table: ItemTable) -> None:
    given = slate({"session_knn_score": 1.0}, {}, session=["first", "last"])

    assert reasons_of(given, table, PRIOR_RANKER) == [
        {"code": "seen_together", "text": "Often seen together with last", "item_id": "last"}
    ]


def test_only_what_sessions_had_together_is_likely_for_that_reason(table: ItemTable) -> None:
    given = slate(
        {"session_odds": 0.9, "rules_rank": 0.5}, {"session_odds": 0.8, "standing": 0.5}, slots=[0, 1], session=["s"]
    )

    assert [reason["code"] for reason in reasons_of(given, table, PRIOR_RANKER)] == ["seen_together", "popular"]


def test_without_a_session_nothing_follows_from_an_item(table: ItemTable) -> None:
    given = slate({"vectors_score": 1.0, "popularity": 0.3}, {})

    assert reasons_of(given, table, PRIOR_RANKER)[0]["code"] == "popular"


def test_a_lone_candidate_gets_a_reason_that_is_true(table: ItemTable) -> None:
    given = slate({"popularity": 0.8, "age": 1e-6}, session=["s"])

    assert reasons_of(given, table, PRIOR_RANKER)[0]["code"] == "popular"


def test_an_item_of_which_nothing_speaks_is_just_from_the_catalogue(table: ItemTable) -> None:
    given = slate({"age": 1e-6, "popularity": 0.01}, {"session_knn_score": 1.0}, session=["s"])

    assert reasons_of(given, table, PRIOR_RANKER) == [
        {"code": "catalogue", "text": "From the catalogue", "item_id": None}
    ]


def test_every_slot_gets_its_own_reason_in_slot_order(table: ItemTable) -> None:
    given = slate({"popularity": 1.0}, {"age": 1.0}, {"trend": 1.0}, slots=[2, 0, 1])

    assert [reason["code"] for reason in reasons_of(given, table, PRIOR_RANKER)] == ["trending", "popular", "new"]


def test_an_empty_slate_has_no_reasons(table: ItemTable) -> None:
    assert reasons_of(slate(slots=[]), table, PRIOR_RANKER) == []
