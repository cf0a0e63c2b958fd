from __future__ import annotations

import msgspec
import numpy as np
import pytest

from online.models.lower_bound import LowerBound


def bounds(values: list[float], alpha: float = 0.05) -> list[float]:
    bound, found = LowerBound(alpha), []
    for value in values:
        bound.learn_one(value)
        found.append(bound.get())
    return found


@pytest.mark.parametrize("kind", ["signs", "small", "skewed"])
def test_whoever_looks_after_every_value_is_misled_no_more_often_than_alpha_says(kind: str) -> None:
    rng = np.random.default_rng(4)
    draws = {
        "signs": lambda: rng.choice([-1.0, 1.0], 600),
        "small": lambda: rng.normal(0.0, 0.05, 600).clip(-1.0, 1.0),
        "skewed": lambda: np.where(rng.random(600) < 0.1, 0.9, -0.1),  # the mean is 0
    }

    misled = sum(max(bounds(draws[kind]().tolist(), alpha=0.2)) > 0.0 for _ in range(200))

    assert misled <= 200 * 0.2 + 3 * (200 * 0.2 * 0.8) ** 0.5


def test_a_steady_gain_is_found_and_the_bound_comes_close_to_it() -> None:
    rng = np.random.default_rng(5)
    found = bounds(rng.normal(0.05, 0.2, 20_000).clip(-1.0, 1.0).tolist())

    assert next(n for n, bound in enumerate(found) if bound > 0.0) < 5000
    assert 0.03 < found[-1] < 0.05


def test_before_the_first_value_nothing_is_said() -> None:
    assert (LowerBound().get(), LowerBound().mean) == (-1.0, 0.0)


def test_a_kept_bound_goes_on_as_if_it_had_never_stopped() -> None:
    values = np.random.default_rng(6).uniform(-1.0, 1.0, 50).tolist()
    steady, kept = LowerBound(), LowerBound()
    for value in values:
        steady.learn_one(value)
        kept.learn_one(value)
        kept = msgspec.json.decode(msgspec.json.encode(kept), type=LowerBound)

    assert kept == steady


@pytest.mark.parametrize("value", [1.1, -1.1, float("nan")])
def test_values_outside_the_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="-1, 1"):
        LowerBound().learn_one(value)
