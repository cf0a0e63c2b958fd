"""The contract of a vector index, on every adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from online.adapters.exact_index import ExactIndex
from online.adapters.usearch_index import Graph, UsearchIndex, build_usearch
from online.ports import UnsoundIndex, VectorIndex

ROUNDING = 0.01  # of cosines

Open = Callable[[NDArray[np.float32], NDArray[np.int64]], VectorIndex]


@pytest.fixture(params=["exact", "usearch"])
def open_index(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    def usearch(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> VectorIndex:
        path = tmp_path / "items.usearch"
        path.write_bytes(build_usearch(vectors, labels))
        return UsearchIndex.view(path)

    return ExactIndex if request.param == "exact" else usearch


def some_vectors(n: int, dim: int = 16, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def test_the_nearest_by_cosine_come_first(open_index: Open) -> None:
    vectors = np.array([[1, 0], [0, 5], [2, 2], [-1, 0]], np.float32)
    labels, cosines = open_index(vectors, np.array([7, 8, 9, 2**40])).search(np.array([0.0, 0.1], np.float32), 3)
    assert labels.dtype == np.int64
    assert cosines.dtype == np.float32
    assert labels[:2].tolist() == [8, 9]
    np.testing.assert_allclose(cosines, [1.0, np.sqrt(0.5), 0.0], atol=ROUNDING)


def test_answers_agree_with_a_plain_computation(open_index: Open) -> None:
    vectors = some_vectors(2000)
    index = open_index(vectors, np.arange(2000) * 3)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    agreeing = []
    for query in some_vectors(50, seed=1):
        labels, cosines = index.search(query, 10)
        expected = units @ (query / np.linalg.norm(query))
        np.testing.assert_allclose(cosines, expected[labels // 3], atol=ROUNDING)
        assert (np.diff(cosines) <= 0).all()
        agreeing.append(len(set(labels.tolist()) & set((np.argsort(-expected)[:10] * 3).tolist())) / 10)
    assert np.mean(agreeing) >= 0.95


def test_every_vector_finds_itself(open_index: Open) -> None:
    vectors = some_vectors(500)
    index = open_index(vectors, np.arange(500))
    assert len(index) == 500
    assert [int(index.search(vector, 1)[0][0]) for vector in vectors] == list(range(500))


def test_more_than_there_are_gives_all(open_index: Open) -> None:
    labels, _ = open_index(some_vectors(5), np.arange(5)).search(some_vectors(1)[0], 50)
    assert sorted(labels.tolist()) == [0, 1, 2, 3, 4]


def test_an_empty_index_answers_with_nothing(open_index: Open) -> None:
    index = open_index(some_vectors(0), np.arange(0))
    labels, cosines = index.search(some_vectors(1)[0], 5)
    assert (len(index), len(labels), len(cosines)) == (0, 0, 0)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_query_without_direction_finds_nothing(open_index: Open, value: float) -> None:
    labels, cosines = open_index(some_vectors(5), np.arange(5)).search(np.full(16, value, np.float32), 3)
    assert (labels.tolist(), cosines.tolist()) == ([], [])


def test_twins_are_all_there(open_index: Open) -> None:
    vectors = np.repeat(some_vectors(30), 4, axis=0)
    index = open_index(vectors, np.arange(120))
    assert sorted(index.search(vectors[0], 4)[0].tolist()) == [0, 1, 2, 3]


def test_wrong_shapes_are_refused(open_index: Open) -> None:
    index = open_index(some_vectors(5), np.arange(5))
    with pytest.raises(ValueError, match="shape"):
        index.search(np.ones(8, np.float32), 3)
    with pytest.raises(ValueError, match="not positive"):
        index.search(np.ones(16, np.float32), 0)
    with pytest.raises(ValueError, match="shape"):
        open_index(some_vectors(5), np.arange(4))


@pytest.mark.parametrize("labels", [[0, 1, 1], [0, -1, 2]])
def test_labels_must_be_distinct_and_not_negative(open_index: Open, labels: list[int]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        open_index(some_vectors(3), np.array(labels))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_refused_by_label(open_index: Open, value: float) -> None:
    vectors = some_vectors(3)
    vectors[1] = value
    with pytest.raises(ValueError, match="label 21"):
        open_index(vectors, np.array([20, 21, 22]))


def test_a_usearch_graph_that_misses_its_own_vectors_is_not_handed_out() -> None:
    with pytest.raises(UnsoundIndex, match="self-recall"):
        build_usearch(
            some_vectors(3000), np.arange(3000), graph=Graph(connectivity=2, expansion_add=2, expansion_search=1)
        )


def test_a_usearch_build_repeats_byte_for_byte() -> None:
    vectors = some_vectors(300)
    assert build_usearch(vectors, np.arange(300)) == build_usearch(vectors, np.arange(300))


@pytest.mark.parametrize("content", [b"", b"not an index", bytes(5000)])
def test_a_file_that_is_no_index_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "items.usearch"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"index|file"):
        UsearchIndex.view(path)
