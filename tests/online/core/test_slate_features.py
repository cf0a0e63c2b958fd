from __future__ import annotations

import numpy as np
import pytest
from example_slate import example_slate
from lz4.block import compress

from online.core.slate_features import packed_features, rounded, slate_features
from schemas.slate import HALVED_VERSION, PACKED_VERSION, Slate, decode_slate, encode_slate

MATRIX = np.array([[0.25, -1.0, 0.0], [0.25, 7.5, 0.0]], np.float32)


def logged(features: bytes, *, version: int = HALVED_VERSION, candidates: int = 2) -> Slate:
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


def test_a_slate_of_the_second_version_has_whole_floats() -> None:
    matrix = np.full((2, 3), 0.3, np.float32)
    packed = compress(matrix.T.tobytes(), store_size=False)

    assert slate_features(logged(packed, version=PACKED_VERSION)).tolist() == matrix.tolist()


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_rounded_is_logged_exactly_and_is_near_what_it_was(order: str) -> None:
    drawn = np.random.default_rng(1).normal(size=(40, 3)) * 10.0 ** np.arange(-20, 20)[:, None]
    matrix = np.array(drawn, np.float32, order=order)  # type: ignore[call-overload]

    ranked_by = rounded(matrix)

    assert ranked_by is matrix
    assert slate_features(logged(packed_features(matrix), candidates=40)).tolist() == matrix.tolist()
    np.testing.assert_allclose(matrix, drawn, rtol=2**-8 + 2**-24)
    assert rounded(matrix.copy()).tolist() == matrix.tolist()


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
