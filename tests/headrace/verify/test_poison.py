from __future__ import annotations

from collections.abc import Callable

import pytest

from headrace.verify.poison import Outcome, verify_poison
from replay.poison import KINDS


@pytest.mark.parametrize(
    "fault",
    [
        "missing",
        "wrong",
        "records_different",
        "not_archived",
        "redriven_wrong",
        "restarts",
    ],
)
def test_one_fault_is_enough_to_be_incorrect(fault: str) -> None:
    assert Outcome(events=9, poison=1, dead_lettered=1).is_correct
    assert not Outcome(events=9, poison=1, dead_lettered=1, **{fault: 1}).is_correct


def test_poison_that_is_nowhere_is_incorrect() -> None:
    assert not Outcome(events=9, poison=2, dead_lettered=1).is_correct


@pytest.mark.slow
def test_poison_of_every_kind_stops_nothing_and_spoils_nothing(
    place: str, processes_of: Callable[[str], list[int]]
) -> None:
    outcome = verify_poison(events=4000, share=0.05, seed=2)

    assert outcome.is_correct, outcome
    assert outcome.events + outcome.poison == 4000
    assert outcome.kinds.keys() == KINDS.keys()
    assert outcome.redriven > 0
    assert processes_of(place) == []
