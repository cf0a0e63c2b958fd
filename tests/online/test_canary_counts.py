from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from example_canary import own_database, record_arm

from online.canary_counts import canary_counts
from online.core.canary import Canary
from online.core.guardrail import ArmCounts
from online.ports import Warehouse

T0 = 1_700_000_000.0
CANARY = Canary("home", "bold", "calm", steps=(0.5, 1.0), slates=100, tolerated={"latency": 0.5}, began=(T0,), salt="s")


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    with own_database(warehouse_url) as own:
        yield own


def test_both_arms_are_counted_by_user(warehouse: Warehouse) -> None:
    said = {"slots": [0], "stages_us": {"score": 9000.0}}
    record_arm(warehouse, "candidate", 40, at=T0 + 1, is_clicked=lambda n: n < 20, **said)
    record_arm(warehouse, "baseline", 60, at=T0 + 1)

    counts = canary_counts(warehouse, CANARY)

    candidate, baseline = counts.candidate, counts.baseline
    assert candidate.errors == (40, 80, 80, 160, 160, 160)  # a short slate is an error
    assert candidate.clicks == (40, 80, 20, 160, 40, 20)
    assert candidate.slow.mean == 1.0
    assert (baseline.errors.mean, baseline.slow.mean) == (0.0, 0.0)
    assert baseline.clicks.y == 24
    assert (candidate.coverage.units, baseline.coverage.units) == (4, 6)
    assert baseline.coverage.mean == pytest.approx(11 / 20)  # items i to i + 10 in twenty slots
    assert counts.p99_us[0] == 9000.0
    assert 1000.0 < counts.p99_us[1] < counts.limit_us / 1.5 + 1.0 < 1200.0


def test_other_steps_canaries_robots_and_what_was_before_do_not_count(warehouse: Warehouse) -> None:
    record_arm(warehouse, "candidate", 10, at=T0 + 1)
    record_arm(warehouse, "candidate", 10, at=T0 - 9)
    record_arm(warehouse, "candidate", 10, at=T0 + 2, step=1)
    record_arm(warehouse, "candidate", 10, at=T0 + 3, canary="other")
    record_arm(warehouse, "candidate", 10, at=T0 + 4, robot=True)
    record_arm(warehouse, "candidate", 10, at=T0 + 5, surface="cart")

    counts = canary_counts(warehouse, CANARY)

    assert (counts.candidate.errors.units, counts.candidate.errors.n) == (10, 20)
    assert counts.baseline == ArmCounts()


def test_in_the_last_step_the_baseline_s_errors_are_those_of_the_step_before(warehouse: Warehouse) -> None:
    record_arm(warehouse, "baseline", 10, at=T0 + 1, ope_why="the deadline passed in the stage retrieve")
    record_arm(warehouse, "candidate", 20, at=T0 + 9, step=1)

    counts = canary_counts(warehouse, replace(CANARY, step=1, began=(T0, T0 + 5)))

    assert (counts.candidate.errors.n, counts.candidate.errors.y) == (40, 0)
    assert counts.baseline.errors.mean == 1.0
    assert counts.baseline.clicks.n == 0
