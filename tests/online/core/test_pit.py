from __future__ import annotations

import numpy as np
import pytest

from online.core.pit import randomised_pit, uniformity

N = 4000


def transforms(drawn_from: np.ndarray, said: np.ndarray, seed: int = 3) -> np.ndarray:
    """Return the transforms of draws from one distribution of which another one is said."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(drawn_from), size=N, p=drawn_from)
    return randomised_pit(np.tile(said, (N, 1)), chosen, rng.random(N))


def test_draws_from_what_is_said_are_uniform() -> None:
    p = np.array([0.1, 0.5, 0.05, 0.35])

    assert uniformity(transforms(p, p))[1] > 1e-4


@pytest.mark.parametrize("said", [[0.15, 0.45, 0.1, 0.3], [0.02, 0.6, 0.02, 0.36], [0.1, 0.35, 0.05, 0.5]])
def test_draws_from_anything_else_are_not(said: list[float]) -> None:
    assert uniformity(transforms(np.array([0.1, 0.5, 0.05, 0.35]), np.array(said)))[1] < 1e-4


def test_the_p_value_is_that_of_the_tables() -> None:
    n = 10_000  # the asymptotic 0.01 and 1e-4 points of sqrt(n) D are 1.6276 and 2.2253
    for point, expected in ((1.6276, 0.01), (2.2253, 1e-4)):
        shifted = (np.arange(n) + 0.5) / n * (1.0 - point / np.sqrt(n)) + 0.5 / n
        assert uniformity(shifted)[1] == pytest.approx(expected, rel=0.05)


def test_nothing_drawn_says_nothing() -> None:
    assert uniformity(np.empty(0)) == (0.0, 1.0)
