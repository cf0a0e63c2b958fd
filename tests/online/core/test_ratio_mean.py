from __future__ import annotations

import numpy as np
import pytest

from online.core.ratio_mean import LEAST_UNITS, Sums, at_all_times, interval, of_users, pooled, standard_error


def test_no_user_says_nothing_and_one_has_no_interval() -> None:
    assert Sums().mean == 0.0
    assert standard_error(Sums(), 0.0) == float("inf")
    assert at_all_times(0, alpha=0.05, planned=100) == float("inf")
    assert interval(of_users([(3, 1)] * (LEAST_UNITS - 1))) is None


def test_users_whose_slates_are_alike_make_a_mean_less_sure() -> None:
    rng = np.random.default_rng(1)
    alone = of_users([(1, float(y)) for y in rng.random(400) < 0.3])
    alike = of_users([(10, 10.0 * float(y)) for y in rng.random(40) < 0.3])

    errors = [standard_error(sums, sums.spread(sums.mean)) for sums in (alone, alike)]
    assert alone.n == alike.n
    assert errors[1] > 2.5 * errors[0]
    assert pooled(alone, alike).units == 440


@pytest.mark.parametrize("planned", [200, 1000])
def test_looked_at_after_every_user_the_mean_is_in_its_interval_as_often_as_promised(planned: float) -> None:
    """Users differ, and come with 1 to 8 slates each; 400 courses of 600 users, a look after each from the 100th on."""
    rng = np.random.default_rng(7)
    n = rng.integers(1, 9, (400, 600)).astype(float)
    y = rng.binomial(n.astype(int), rng.beta(2.0, 8.0, n.shape)).astype(float)
    sums = [np.cumsum(part, axis=1)[:, 99:] for part in (np.ones_like(n), n, y, n * n, n * y, y * y)]
    mean = sums[2] / sums[1]
    spread = (sums[5] - 2 * mean * sums[4] + mean**2 * sums[3]) / sums[0]
    error = np.sqrt(spread * sums[0]) / sums[1]
    widths = np.array([at_all_times(units, alpha=0.05, planned=planned) for units in range(100, 601)])

    ever_above = (mean - widths * error > 0.2).any(axis=1).mean()
    ever_below = (mean + widths * error < 0.2).any(axis=1).mean()
    assert max(ever_above, ever_below) <= 0.05
    first = Sums(*(float(part[0, -1]) if i else int(part[0, -1]) for i, part in enumerate(sums)))
    low, high = interval(first) or (1.0, 0.0)
    assert low < first.mean < high
