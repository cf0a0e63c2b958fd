from __future__ import annotations

from typing import Any

import pytest

from headrace.verify.canary import Outcome, Run, _Answer, _tell

RIGHT = [
    Run("random", state="stopped", why="click_rate: 0.1 against 0.7", answers_by_policy_after={"popularity-1": 9}),
    Run("alike", state="passed", why="all guardrails held", answers_by_policy_after={"alike": 9}),
]


def test_ends_as_they_should_be_are_correct() -> None:
    assert Outcome(runs=RIGHT, rolled_back_to="popularity-1", harmless=100, false_stops=5).is_correct


@pytest.mark.parametrize(
    "wrong",
    [
        {"runs": [Run("random", state="passed", why="all guardrails held", answers_by_policy_after={"random": 9})]},
        {
            "runs": [
                Run("random", state="stopped", why="errors: 1 against 0", answers_by_policy_after={"popularity-1": 9})
            ]
        },
        {"runs": [Run("alike", state="passed", answers_by_policy_after={"alike": 9, "popularity-1": 1})]},
        {"runs": [Run("alike", state="passed")]},
        {"rolled_back_to": "alike"},
        {"false_stops": 6},
    ],
)
def test_other_ends_and_false_stops_are_not(wrong: dict[str, Any]) -> None:
    right = {"runs": RIGHT, "rolled_back_to": "popularity-1", "harmless": 100, "false_stops": 5}

    assert not Outcome(**{**right, **wrong}).is_correct


def test_what_is_answered_after_the_end_is_told_by_the_time_it_was_asked_for() -> None:
    run = Run("bold")
    found = {"document": {"state": "stopped", "why": "odd", "step": 1}, "changes": [{"at": 1.0}, {"at": 100.0}]}
    answers = [_Answer(99.0, "bold"), _Answer(100.25, "bold"), _Answer(100.5, "calm"), _Answer(101.5, "calm")]

    _tell(run, found, answers)

    assert (run.slates, run.candidate_slates, run.shown_after_ms) == (4, 2, 250.0)
    assert run.answers_by_policy_after == {"calm": 1}
