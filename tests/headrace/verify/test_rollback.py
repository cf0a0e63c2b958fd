from __future__ import annotations

import pytest

from headrace.verify.rollback import NEVER, Absence, Change, Outcome, Seen, tell_wrong, verify_rollback

CHANGES = [Change(0.0, 0.0, 1), Change(5.0, 6.0, 2), Change(9.0, NEVER, 1)]
ABSENCES = [Absence(3.0, 4.0, "a"), Absence(NEVER, 9.0, "b")]


def told(*seen: Seen) -> tuple[int, int]:
    outcome = Outcome()
    tell_wrong(outcome, seen, CHANGES, ABSENCES)
    assert len(outcome.wrong_examples) == outcome.wrong_policy + outcome.wrong_item
    return outcome.wrong_policy, outcome.wrong_item


def seen(sent: float, received: float, version: int, *items: str) -> Seen:
    return Seen(sent, received, "w", version, frozenset(items))


@pytest.mark.parametrize(
    "answer",
    [
        seen(1.0, 1.5, 1),
        seen(4.5, 5.5, 2),  # the change was asked for before the answer came
        seen(5.5, 6.5, 1),  # and acknowledged after the request
        seen(6.5, 7.0, 2),
        seen(9.5, 9.9, 1),  # not acknowledged: either
        seen(9.5, 9.9, 2),
        seen(2.9, 3.5, 1, "a"),
        seen(3.5, 4.5, 1, "a"),
        seen(7.0, 8.0, 2, "b"),
    ],
)
def test_what_may_have_been_so_is_right(answer: Seen) -> None:
    assert told(answer) == (0, 0)


def test_what_was_before_an_acknowledgement_is_wrong_behind_it() -> None:
    assert told(seen(1.0, 1.5, 2), seen(6.0, 6.1, 1), seen(3.0, 4.0, 1, "a", "b")) == (2, 1)


def test_an_outcome_is_correct_only_if_both_workers_answered() -> None:
    assert Outcome(answers_per_worker={"a": 1, "b": 1}).is_correct
    assert not Outcome(answers_per_worker={"a": 1}).is_correct
    assert not Outcome(answers_per_worker={"a": 1, "b": 1}, wrong_item=1).is_correct


@pytest.mark.slow
def test_nothing_of_before_is_shown_behind_an_acknowledgement() -> None:
    outcome = verify_rollback(rollbacks=3)

    assert outcome.is_correct, outcome
    assert (outcome.lagging, len(outcome.workers)) == (0, 2)
