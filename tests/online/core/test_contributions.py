from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from example_slate import example_slate

from online.core.contributions import found_by, parts_of
from online.core.features import INDEX, NAMES
from online.core.ranker import PRIOR_RANKER, Head, Ranker
from online.core.slate_features import packed_features, rounded
from online.core.value import Value
from schemas.slate import HALVED_VERSION, Slate

RNG = np.random.default_rng(3)
FEATURES = rounded(RNG.normal(size=(5, len(NAMES))).astype(np.float32))
SHIFT, BOOSTS = RNG.normal(size=len(NAMES)), RNG.normal(size=5)
PLAIN = Ranker("1", RNG.normal(size=len(NAMES)), -1.5, crosses={"home": RNG.normal(size=len(NAMES))})
HEADS = {name: Head(RNG.normal(size=len(NAMES)), -0.5) for name in ("cart", "purchase")}
HEADED = Ranker("2", PLAIN.weights, -1.5, crosses=PLAIN.crosses, heads=HEADS)


def slate(utilities: Any, **said: Any) -> Slate:
    """A slate that shows the last and the second of five candidates."""
    fields = {
        "schema_version": HALVED_VERSION,
        "candidates": list("abcde"),
        "feature_names": list(NAMES),
        "features": packed_features(FEATURES),
        "utilities": np.asarray(utilities, np.float64).tobytes(),
        "slots": [4, 1],
    }
    return example_slate(**{**fields, **said})


def sums(of: Slate, ranker: Ranker) -> Any:
    return [sum(part.contribution for part in parts) for parts in parts_of(of, ranker)]


def shown_utilities(of: Slate) -> Any:
    return pytest.approx(np.frombuffer(of.utilities)[of.slots], abs=1e-6)


@pytest.mark.parametrize("ranker", [PRIOR_RANKER, PLAIN, HEADED])
@pytest.mark.parametrize("values", [{}, {"click": 0.0, "cart": 1.0, "purchase": 100.0}])
def test_terms_add_up_to_the_score(ranker: Ranker, values: dict[str, float]) -> None:
    value = Value(**values) if values else None
    utilities = ranker.utilities(FEATURES, "home", value) + FEATURES.astype(np.float64) @ SHIFT + BOOSTS
    drawn = slate(utilities, values=values, weight_shift=SHIFT.tobytes(), boosts=BOOSTS.tobytes())

    assert sums(drawn, ranker) == shown_utilities(drawn)


def test_terms_that_are_no_feature_have_names_of_their_own() -> None:
    utilities = HEADED.utilities(FEATURES, "home") + FEATURES.astype(np.float64) @ SHIFT + BOOSTS
    drawn = slate(utilities, weight_shift=SHIFT.tobytes(), boosts=BOOSTS.tobytes())

    parts = {part.name: part for part in parts_of(drawn, HEADED)[0]}

    assert {name for name, part in parts.items() if part.value is None} == {"intercept", "value", "thompson", "rules"}
    assert parts["rules"].contribution == BOOSTS[4]
    assert parts["thompson"].contribution == pytest.approx(FEATURES[4].astype(np.float64) @ SHIFT)
    assert parts["intercept"].contribution == -1.5
    assert parts["age"].contribution == pytest.approx(
        float(FEATURES[4, INDEX["age"]]) * HEADED.weights_on("home")[INDEX["age"]]
    )


def test_the_largest_terms_come_first_and_those_of_nothing_not_at_all() -> None:
    for parts in parts_of(slate(np.zeros(5)), PRIOR_RANKER):
        sizes = [abs(part.contribution) for part in parts]
        assert sizes == sorted(sizes, reverse=True)
        assert 0.0 not in sizes


def test_popularity_and_a_given_order_are_explained_without_a_model() -> None:
    popular = slate(FEATURES[:, INDEX["standing"]], ranker="popularity")
    listed = slate(-np.arange(5.0), ranker="listed")

    assert [[part.name for part in parts] for parts in parts_of(popular, HEADED)] == [["standing"], ["standing"]]
    assert sums(popular, HEADED) == shown_utilities(popular)
    assert [[part.name for part in parts] for parts in parts_of(listed, HEADED)] == [["place"], ["place"]]
    assert sums(listed, HEADED) == shown_utilities(listed)


def test_a_slate_with_features_in_another_order_and_others_than_now_is_explained() -> None:
    names = ["gone", "age", "standing"]
    features = np.arange(15.0, dtype=np.float32).reshape(5, 3)
    ranker = Ranker("1", np.eye(len(NAMES))[INDEX["age"]] * 2.0, 0.5, heads=HEADS)
    known = np.zeros((5, len(NAMES)), np.float32)
    known[:, [INDEX["age"], INDEX["standing"]]] = features[:, 1:]
    drawn = slate(ranker.utilities(known), feature_names=names, features=packed_features(features))

    assert sums(drawn, ranker) == shown_utilities(drawn)


def test_sources_are_told_with_their_ranks_and_scores() -> None:
    features = np.zeros((5, len(NAMES)), np.float32)
    features[4, [INDEX["session_knn_rank"], INDEX["session_knn_score"]]] = 1 / 7, 0.25
    features[4, INDEX["popular_rank"]] = 1 / 200
    bits = np.array([0, 0, 0, 0, 0b11], np.uint8)
    names = ["session_knn", "popular"]
    drawn = slate(np.zeros(5), features=packed_features(rounded(features)), source_names=names, sources=bits.tobytes())

    first, second = found_by(drawn)

    assert [(one.source, one.rank, one.score) for one in first] == [("session_knn", 7, 0.25), ("popular", 200, None)]
    assert second == []


def test_of_an_empty_slate_there_is_nothing_to_explain() -> None:
    drawn = slate(np.zeros(5), slots=[])

    assert (parts_of(drawn, HEADED), found_by(drawn)) == ([], [])
