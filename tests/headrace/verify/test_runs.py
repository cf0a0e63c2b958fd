from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from headrace.settings import SettingsError
from headrace.verify.crash import Trial
from headrace.verify.outcome import Outcome
from headrace.verify.runs import program_digest, verify_runs

TRIAL = Trial(kills=5, targets=("flow", "state"), seed=3, log="redis://127.0.0.1:1/0")  # nothing answers there


def found(number: int, **changes: object) -> bytes:
    outcome = Outcome(
        kills=5, targets=("flow", "state"), seed=number, log="by URL", source=program_digest(), events=number
    )
    return msgspec.json.encode({**msgspec.to_builtins(outcome), **changes}) + b"\n"


def test_runs_that_the_file_holds_are_not_repeated(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    out.write_bytes(found(4) + found(2) + b'{"kills": 5, "see' + b"\n" + found(3))

    outcomes = verify_runs(TRIAL, 2, out)

    assert [outcome.seed for outcome in outcomes] == [3, 4]
    assert [outcome.events for outcome in outcomes] == [3, 4]


@pytest.mark.parametrize(
    "other", [{"source": "older"}, {"kills": 6}, {"targets": ["flow"]}, {"log": "embedded"}, {"seed": 9}]
)
def test_a_run_of_another_program_or_trial_does_not_count(tmp_path: Path, other: dict[str, object]) -> None:
    out = tmp_path / "runs.jsonl"
    out.write_bytes(found(3, **other))

    with pytest.raises(SettingsError):  # so it is run
        verify_runs(TRIAL, 1, out)
    assert out.read_bytes() == found(3, **other)
