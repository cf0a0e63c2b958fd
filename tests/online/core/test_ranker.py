from __future__ import annotations

import msgspec
import numpy as np
import pytest

from online.core.features import FEATURES, NAMES, PRIOR
from online.core.ranker import CROSSED, PRIOR_RANKER, Head, Ranker, read_ranker, write_ranker
from online.core.value import Value


def test_a_utility_is_weights_times_features_plus_intercept() -> None:
    weights = np.arange(len(NAMES), dtype=float)
    features = np.eye(len(NAMES), dtype=np.float32)[:3] * 2

    assert Ranker("1", weights, 0.5).utilities(features).tolist() == [0.5, 2.5, 4.5]


def test_no_candidates_have_no_utilities() -> None:
    utilities = PRIOR_RANKER.utilities(np.empty((0, len(NAMES)), np.float32))

    assert utilities.shape == (0,)
    assert utilities.dtype == np.float64


def test_the_prior_ranker_has_the_prior_weights() -> None:
    assert PRIOR.tolist() == [feature.prior for feature in FEATURES]
    assert PRIOR_RANKER.weights.tolist() == PRIOR.tolist()


def test_a_ranker_survives_its_document_exactly() -> None:
    ranker = Ranker("7", np.random.default_rng(1).normal(size=len(NAMES)), -1.25)

    read = read_ranker(write_ranker(ranker), "7")

    assert read.weights.tolist() == ranker.weights.tolist()
    assert (read.version, read.intercept) == ("7", -1.25)


def test_a_feature_the_document_does_not_name_weighs_nothing() -> None:
    ranker = read_ranker(b'{"weights": {"popularity": 2.0}, "intercept": 0.0}', "1")

    assert {name: w for name, w in zip(NAMES, ranker.weights, strict=True) if w} == {"popularity": 2.0}


def test_a_feature_this_code_does_not_compute_must_not_be_served() -> None:
    with pytest.raises(ValueError, match=r"ranker 9 .* sunshine"):
        read_ranker(b'{"weights": {"sunshine": 2.0, "session_knn_score": 1.0}, "intercept": 0.0}', "9")


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"weights": {"session_knn_score": null}, "intercept": 0}'])
def test_what_is_no_document_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        read_ranker(payload, "1")


def full_ranker() -> Ranker:
    rng = np.random.default_rng(2)
    cross = np.where([name in CROSSED for name in NAMES], rng.normal(size=len(NAMES)), 0.0)
    heads = {name: Head(rng.normal(size=len(NAMES)), -1.0) for name in ("cart", "purchase")}
    return Ranker("7", rng.normal(size=len(NAMES)), -3.0, np.eye(len(NAMES)), {"home": cross}, heads)


def test_crosses_heads_and_root_survive_the_document_too() -> None:
    ranker = full_ranker()

    read = read_ranker(write_ranker(ranker), "7", ranker.root)

    features = np.random.default_rng(3).random((20, len(NAMES)), np.float32)
    for surface in ("home", "item"):
        assert read.utilities(features, surface).tolist() == ranker.utilities(features, surface).tolist()
    assert read.root is ranker.root


def test_a_surface_adds_to_the_weights_of_sources_there_and_nowhere_else() -> None:
    ranker = full_ranker()
    moved = {name for name, w in zip(NAMES, ranker.weights_on("home") - ranker.weights, strict=True) if w}

    assert moved == set(CROSSED)
    assert ranker.weights_on("item") is ranker.weights


def test_a_purchase_that_is_likelier_given_the_click_raises_the_utility_by_its_value() -> None:
    weights = np.where([name == "popularity" for name in NAMES], 4.0, 0.0)
    ranker = Ranker("1", np.zeros(len(NAMES)), -3.0, heads={"purchase": Head(weights, -2.0)})
    features = np.zeros((2, len(NAMES)), np.float32)
    features[1, NAMES.index("popularity")] = 1.0

    dear, cheap = (ranker.utilities(features, "home", Value(purchase=worth)) for worth in (10.0, 1.0))

    assert dear[1] - dear[0] > cheap[1] - cheap[0] > 0.0


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (b'{"weights": {"sunshine@home": 1}, "intercept": 0}', "sunshine"),
        (b'{"weights": {}, "intercept": 0, "heads": {"cart": {"weights": {"rain": 1}, "intercept": 0}}}', "rain"),
        (b'{"weights": {}, "intercept": 0, "heads": {"joy": {"weights": {}, "intercept": 0}}}', "joy"),
    ],
)
def test_crosses_and_heads_this_code_does_not_know_must_not_be_served(document: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_ranker(document, "9")


def test_a_covariance_of_other_features_must_not_be_served() -> None:
    with pytest.raises(ValueError, match="covariance"):
        read_ranker(write_ranker(PRIOR_RANKER), "9", np.eye(3))
