from __future__ import annotations

import numpy as np
import pytest

from online.core.sample_ratio import ratio_p_value

SHARES = [0.7, 0.2, 0.1]


def ever(rng: np.random.Generator, actual: list[float], looks: int = 60) -> float:
    """Return the least p-value of looks at units that come with these shares."""
    counts, least = np.zeros(3, int), 1.0
    for _ in range(looks):
        counts += rng.multinomial(200, actual)
        least = min(least, ratio_p_value(counts.tolist(), SHARES))
    return least


def test_shares_that_hold_are_seldom_ever_called_wrong() -> None:
    rng = np.random.default_rng(3)

    assert sum(ever(rng, SHARES) < 0.05 for _ in range(300)) <= 28  # 15 expected at most; more is one in a thousand


@pytest.mark.parametrize("actual", [[0.66, 0.24, 0.1], [0.7, 0.23, 0.07]])
def test_shares_that_do_not_hold_are_noticed(actual: list[float]) -> None:
    rng = np.random.default_rng(4)

    assert sum(ever(rng, actual) < 0.01 for _ in range(50)) == 50


def test_of_nobody_nothing_is_said() -> None:
    assert ratio_p_value([0, 0], [0.5, 0.5]) == 1.0
    assert ratio_p_value([10**7, 0], [0.5, 0.5]) < 1e-100
