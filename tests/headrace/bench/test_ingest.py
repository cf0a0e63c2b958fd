from __future__ import annotations

import pytest

from headrace.bench.ingest import ingest

KEYS = {
    "fold_us", "loop_us", "ratio_to_loop", "events_per_core_s", "log_to_state_eps", "http_single_eps", "http_batch_eps",
    "method", "n", "machine", "date",
}  # fmt: skip


@pytest.mark.slow
def test_ingest_tells_what_a_fold_costs_and_what_comes_in() -> None:
    told: list[str] = []

    figures = ingest(
        users=100, items=200, history=2000, segment=2000, repeats=2, http_seconds=0.5, progress=told.append
    )

    assert figures.keys() >= KEYS
    assert figures["equal"], "dataflow and loop must end in the same records"
    assert figures["n"] == 4000
    assert all(figures[name] > 0 for name in KEYS - {"method", "machine", "date"})
    assert figures["fold_us_spread"][0] <= figures["fold_us"] <= figures["fold_us_spread"][1]
    assert 0 < figures["records_per_event"] <= 1
    assert told
