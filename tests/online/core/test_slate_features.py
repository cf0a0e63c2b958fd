from __future__ import annotations

import numpy as np
import pytest
from example_slate import example_slate

from online.core.slate_features import packed_features, slate_features
from schemas.slate import PACKED_VERSION, Slate, decode_slate, encode_slate

MATRIX = np.array([[0.25, -1.0, 0.0], [0.25, 7.5, 0.0]], np.float32)


def logged(features: bytes, *, version: int = PACKED_VERSION, candidates: int = 2) -> Slate:
    slate = example_slate(
        candidates=[str(n) for n in range(candidates)],
        feature_names=["a", "b", "c"],
        features=features,
        schema_version=version,
    )
    return decode_slate(encode_slate(slate))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_slate_gives_back_the_matrix_it_was_ranked_by(order: str) -> None:
    matrix = np.array(MATRIX, order=order)  # type: ignore[call-overload]

    assert slate_features(logged(packed_features(matrix))).tolist() == MATRIX.tolist()


def test_a_slate_of_the_first_version_has_the_plain_matrix() -> None:
    assert slate_features(logged(MATRIX.tobytes(), version=1)).tolist() == MATRIX.tolist()


def test_a_slate_without_candidates_has_an_empty_matrix() -> None:
    assert slate_features(logged(packed_features(MATRIX[:0]), candidates=0)).shape == (0, 3)


def test_features_that_are_the_same_for_all_candidates_take_next_to_nothing() -> None:
    assert len(packed_features(np.ones((300, 60), np.float32, order="F"))) < 400


@pytest.mark.parametrize("given", [b"", b"\x00", packed_features(MATRIX)[:-1], packed_features(MATRIX[:1])])
def test_bytes_that_are_no_matrix_of_the_slate_are_refused(given: bytes) -> None:
    with pytest.raises(ValueError, match=r"r cannot be unpacked|reshape"):
        slate_features(logged(given))
