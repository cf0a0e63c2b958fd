from __future__ import annotations

import numpy as np
import pytest

from online.adapters.usearch_index import local_order


def groups_of(n: int, groups: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(1)
    group = rng.integers(groups, size=n)
    return (rng.standard_normal((groups, 16))[group] + 0.05 * rng.standard_normal((n, 16))).astype(np.float32), group


@pytest.mark.parametrize("n", [0, 1, 64, 65, 1000])
def test_a_local_order_has_every_vector_once(n: int) -> None:
    vectors, _ = groups_of(n, 5)

    assert sorted(local_order(vectors).tolist()) == list(range(n))


def test_in_a_local_order_neighbours_are_mostly_of_one_group() -> None:
    vectors, group = groups_of(4000, 20)

    ordered = group[local_order(vectors)]

    assert np.mean(group[1:] == group[:-1]) < 0.1
    assert np.mean(ordered[1:] == ordered[:-1]) > 0.8


def test_equal_vectors_are_ordered_too() -> None:
    assert sorted(local_order(np.ones((500, 4), np.float32)).tolist()) == list(range(500))
