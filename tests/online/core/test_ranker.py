from __future__ import annotations

import msgspec
import numpy as np
import pytest

from online.core.features import FEATURES, NAMES, PRIOR
from online.core.ranker import PRIOR_RANKER, Ranker, read_ranker, write_ranker


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
