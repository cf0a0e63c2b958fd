from __future__ import annotations

from dataclasses import fields

import pytest

from headrace.verify.outcome import Outcome, summed

TOLD = {"kills", "events", "merges", "slates", "examples", "letters", "messages", "runs", "seed"}
COUNTS = [each.name for each in fields(Outcome) if each.type == "int" and each.name not in TOLD]


def test_what_must_be_zero_is_named() -> None:
    assert len(COUNTS) == 19
    assert Outcome(kills=3, events=7, slates=2).is_correct


@pytest.mark.parametrize("name", COUNTS)
def test_any_of_it_is_a_defect(name: str) -> None:
    outcome = Outcome()
    setattr(outcome, name, 1)

    assert not outcome.is_correct


def test_runs_are_summed() -> None:
    first = Outcome(kills=2, events=5, killed={"valkey": 2}, seed=7, took_s=1.26, log="embedded", targets=("state",))
    second = Outcome(kills=2, events=6, lost=1, killed={"api-0": 1, "valkey": 1}, seed=8, took_s=1.0, kept="/data")

    total = summed([first, second])

    assert (total.kills, total.events, total.lost, total.runs, total.seed, total.took_s) == (4, 11, 1, 2, 7, 2.3)
    assert total.killed == {"api-0": 1, "valkey": 3}
    assert (total.log, total.targets, total.kept) == ("embedded", ("state",), "/data")
    assert not total.is_correct
