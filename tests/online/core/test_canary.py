from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from online.core.canary import BASELINE, CANDIDATE, NO_ARM, Canary, arm_of, decide
from online.core.guardrail import ArmCounts, Counts
from online.core.ratio_mean import Sums

UNITS = [f"u{n}" for n in range(20_000)]
TOLERATED = {"errors": 0.01, "latency": 0.5, "click_rate": 0.1, "coverage": 0.2}
CANARY = Canary("home", "bold", "calm", minutes=10.0, slates=1000, tolerated=TOLERATED, began=(100.0,), salt="s")


def users(n: int, rate: float) -> Sums:
    """Users of one slate each, of which a part has it."""
    return Sums(n, n, rate * n, n, rate * n, rate * n)


def counts(*, candidate: int = 1000, baseline: int = 99_000, **rates: float) -> Counts:
    """Return counts in which the candidate's rates are the baseline's but for those given."""
    rate = {"errors": 0.001, "slow": 0.005, "clicks": 0.2, "coverage": 0.5}
    arms = [
        ArmCounts(*(users(n // 10 if name == "coverage" else n, own[name]) for name in rate))
        for n, own in ((candidate, rate | rates), (baseline, rate))
    ]
    return Counts(arms[0], arms[1], 5000.0, (3000.0, 3000.0))


def test_who_is_in_at_one_step_is_in_at_the_next() -> None:
    before: set[str] = set()
    for step, share in enumerate(CANARY.steps):
        canary = replace(CANARY, step=step, began=(0.0,) * (step + 1))
        inside = {unit for unit in UNITS if arm_of(canary, unit).arm == CANDIDATE}
        assert before <= inside
        assert len(inside) / len(UNITS) == pytest.approx(share, abs=0.012)
        before = inside
    assert before == set(UNITS)


def test_another_canary_deals_the_users_anew() -> None:
    half = replace(CANARY, steps=(0.5, 1.0))
    together = sum(arm_of(half, u).arm == arm_of(replace(half, salt="other"), u).arm for u in UNITS)

    assert together / len(UNITS) == pytest.approx(0.5, abs=0.02)


def test_both_sides_are_marked_and_nobody_else_is() -> None:
    arms = {arm_of(replace(CANARY, steps=(0.5, 1.0)), unit) for unit in UNITS}

    assert {(arm.arm, arm.policy) for arm in arms} == {(CANDIDATE, "bold"), (BASELINE, "calm")}
    assert arm_of(CANARY, None) == arm_of(None, "u1") == NO_ARM
    for state in ("stopped", "passed"):
        assert arm_of(replace(CANARY, state=state), "u1") == NO_ARM


@pytest.mark.parametrize(
    ("said", "given", "now", "kind", "why"),
    [
        ({}, {}, 400.0, "hold", "the step goes on for 300 s"),
        ({}, {"candidate": 999}, 700.0, "hold", "the candidate has answered 999 of 1000 slates"),
        ({}, {}, 700.0, "advance", "all guardrails held at 1%: on to 5%"),
        ({"state": "paused"}, {}, 700.0, "hold", "it is paused"),
        ({"step": 4, "began": (0.0,) * 5}, {}, 700.0, "pass", "all guardrails held, to the last of 5 steps"),
    ],
)
def test_a_step_ends_with_its_time_and_its_slates(
    said: dict[str, Any], given: dict[str, Any], now: float, kind: str, why: str
) -> None:
    action = decide(replace(CANARY, **said), counts(**given), now)

    assert (action.kind, action.why) == (kind, why)
    assert [verdict.guardrail for verdict in action.verdicts] == list(TOLERATED)


@pytest.mark.parametrize("state", ["running", "paused"])
@pytest.mark.parametrize(
    ("guardrail", "rates"),
    [
        ("errors", {"errors": 0.06}),
        ("latency", {"slow": 0.05}),
        ("click_rate", {"clicks": 0.1}),
        ("coverage", {"coverage": 0.1}),
    ],
)
def test_a_broken_guardrail_stops_it_at_once_with_the_figures(
    guardrail: str, rates: dict[str, float], state: Any
) -> None:
    action = decide(replace(CANARY, state=state), counts(**rates), 101.0)

    assert (action.kind, action.guardrail) == ("stop", guardrail)
    assert action.why.startswith(f"{guardrail}: ")
    assert "users" in action.why or "blocks" in action.why
    assert decide(replace(CANARY, tolerated={"errors": 0.5}), counts(**rates), 101.0).kind == "hold"


@pytest.mark.parametrize("rates", [{"errors": 0.2}, {"slow": 0.2}, {"clicks": 0.0}, {"coverage": 0.01}])
def test_of_a_few_users_nothing_is_said(rates: dict[str, float]) -> None:
    assert decide(CANARY, counts(candidate=90, **rates), 101.0).kind == "hold"


def test_a_candidate_that_loses_less_than_tolerated_goes_on() -> None:
    better = counts(candidate=100_000, errors=0.0, slow=0.0, clicks=0.4, coverage=0.9)
    little = counts(candidate=100_000, errors=0.008, slow=0.009, clicks=0.185, coverage=0.42)

    assert [decide(CANARY, given, 700.0).kind for given in (better, little)] == ["advance", "advance"]


def test_without_a_warehouse_it_holds_and_says_so() -> None:
    action = decide(CANARY, None, 10_000.0)

    assert (action.kind, action.verdicts) == ("hold", ())
    assert action.why == "the warehouse does not answer: nothing is known of this step"


def test_what_is_no_longer_compared_with_the_same_is_stopped() -> None:
    assert decide(CANARY, counts(), 101.0, changed="calm is another")[:2] == ("stop", "calm is another")


def test_without_a_baseline_only_errors_are_judged_by_those_of_before() -> None:
    last = replace(CANARY, step=4, began=(0.0,) * 5)
    whole = counts(clicks=0.0, slow=0.9, coverage=0.0)
    alone = whole._replace(baseline=ArmCounts(errors=whole.baseline.errors))
    failing = counts(errors=0.2)

    assert decide(last, alone, 10_000.0).kind == "pass"
    assert decide(last, failing._replace(baseline=alone.baseline), 10_000.0).guardrail == "errors"
