from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.core.decay import HALF_LIVES_S, Decay

TIMES = st.floats(0.0, 4e9)


@given(TIMES, st.floats(0.0, 1e8))
def test_a_weight_halves_with_every_half_life(time: float, age: float) -> None:
    decay = Decay()
    landmark = decay.landmark(time + age)
    current = decay.now(decay.at(time, landmark), time + age, landmark)

    for weight, half_life in zip(current, HALF_LIVES_S, strict=True):
        assert weight == pytest.approx(0.5 ** (age / half_life), rel=1e-6, abs=1e-12)


@given(TIMES, st.integers(0, 5))
def test_moving_the_landmark_changes_no_answer(time: float, steps: int) -> None:
    decay = Decay()
    old = decay.landmark(time)
    new = old + steps * decay.grid_s
    weights = decay.at(time, old)
    before = decay.now(weights, time, old)
    decay.rebase([weights], old, new)

    assert decay.now(weights, time, new) == pytest.approx(before, rel=1e-9, abs=1e-300)


def test_forward_weights_stay_finite_on_the_whole_grid() -> None:
    decay = Decay()

    assert all(math.isfinite(w) for w in decay.at(decay.grid_s * (1 - 1e-9), landmark=0.0))


def test_a_moment_long_before_the_landmark_gives_finite_weights() -> None:
    decay = Decay()
    landmark = decay.landmark(1.7e9)
    latest = decay.at(landmark + decay.grid_s * (1 - 1e-9), landmark)

    assert all(math.isfinite(w) for w in decay.now(latest, now=0.0, landmark=landmark))


@pytest.mark.parametrize("half_lives", [(), (0.0,), (-1.0, 2.0), (5.0, 1.0)])
def test_half_lives_must_be_positive_and_ascending(half_lives: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="half-lives"):
        Decay(half_lives)
