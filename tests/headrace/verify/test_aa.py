from __future__ import annotations

from headrace.verify.aa import Trial, verify_aa


def test_looked_at_daily_nothing_is_called_that_is_not_there_and_what_is_planted_is_found() -> None:
    outcome = verify_aa(Trial(runs=20, days=14, units=3000, planted=5, effect=1.0, lost=0.25))

    assert (outcome.false_wins, outcome.false_mismatches) == (0.0, 0.0)
    assert (outcome.effects_found, outcome.mismatches_found) == (1.0, 1.0)
    assert outcome.is_correct


def test_what_is_not_planted_is_not_found_and_the_outcome_says_so() -> None:
    outcome = verify_aa(Trial(runs=0, days=2, units=300, planted=3, effect=0.0, lost=0.0))

    assert (outcome.effects_found, outcome.is_correct) == (0.0, False)
