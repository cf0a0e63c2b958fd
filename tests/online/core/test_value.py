from __future__ import annotations

import numpy as np
import pytest

from online.core.value import Value, value_utilities


def log_odds(p: np.ndarray) -> np.ndarray:
    odds: np.ndarray = np.log(p / (1 - p))
    return odds


def test_a_utility_is_the_log_odds_of_the_expected_share_of_the_value() -> None:
    rng = np.random.default_rng(1)
    click, cart, purchase = rng.uniform(0.01, 0.99, (3, 50))
    value = Value(click=2.0, cart=5.0, purchase=13.0)

    utilities = value_utilities(log_odds(click), {"cart": log_odds(cart), "purchase": log_odds(purchase)}, value)

    assert utilities == pytest.approx(log_odds(click * (2.0 + 5.0 * cart + 13.0 * purchase) / 20.0))


def test_a_head_that_tells_all_items_alike_moves_no_rank_and_hardly_a_difference() -> None:
    clicks = np.array([-5.0, -4.0, -3.0])

    utilities = value_utilities(clicks, {"purchase": np.full(3, -2.0)}, Value())

    assert np.diff(utilities) == pytest.approx([1.0, 1.0], abs=0.05)


def test_an_outcome_that_is_worth_nothing_says_nothing() -> None:
    clicks, purchases = np.array([-1.0, 1.0]), np.array([3.0, -3.0])

    assert value_utilities(clicks, {"purchase": purchases}, Value(purchase=0.0)) == pytest.approx(clicks)


@pytest.mark.parametrize("far", [-800.0, 800.0])
def test_extreme_log_odds_stay_finite(far: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(value_utilities(np.array([far]), {"cart": np.array([far])}, Value())).all()


@pytest.mark.parametrize("worth", [(-1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_outcomes_are_worth_something(worth: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="worth"):
        Value(*worth)
