from __future__ import annotations

import numpy as np
import pytest

from online.core.canary import Canary
from replay.canary_trial import Effect, Outcome, Traffic, trial

TOLERATED = {"errors": 0.01, "latency": 0.5, "click_rate": 0.1, "coverage": 0.2}
STEPS = (0.1, 0.5, 1.0)


def ran(effect: Effect, seed: int, tolerated: dict[str, float]) -> Outcome:
    canary = Canary("home", "bold", "calm", steps=STEPS, slates=900, tolerated=tolerated, salt="s")
    return trial(canary, effect, np.random.default_rng(seed), traffic=Traffic(), looks=10)


@pytest.mark.parametrize(
    ("guardrail", "effect"),
    [
        ("click_rate", Effect(clicks=0.4)),
        ("latency", Effect(time=4.0)),
        ("errors", Effect(errors=0.1)),
        ("coverage", Effect(items=0.03)),
    ],
)
def test_what_is_clearly_worse_is_stopped_in_the_first_step_by_its_guardrail(guardrail: str, effect: Effect) -> None:
    outcomes = [ran(effect, seed, TOLERATED) for seed in range(5)]

    assert {(one.end, one.step, one.guardrail) for one in outcomes} == {("stop", 0, guardrail)}
    assert max(one.slates for one in outcomes) < 1500


def test_what_is_like_the_baseline_is_seldom_stopped_even_when_nothing_is_tolerated() -> None:
    outcomes = [ran(Effect(), seed, dict.fromkeys(TOLERATED, 0.0)) for seed in range(40)]

    assert sum(one.end == "stop" for one in outcomes) <= 2
    assert all(one.end in ("stop", "pass") for one in outcomes)
