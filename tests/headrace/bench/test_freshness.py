from __future__ import annotations

import pytest

from headrace.bench.freshness import freshness


@pytest.mark.slow
def test_freshness_tells_how_long_a_click_takes_to_show_at_each_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.bench.freshness.FLOWS", ("state",))  # what it measures needs no other

    figures = freshness(background_eps=(0, 50), probes=8, users=100, items=200, history=500)

    idle, busy = figures["runs"]
    assert [run["background_eps"] for run in figures["runs"]] == [0, 50]
    assert idle["n"] == busy["n"] == 8
    assert all(0 < run["p50_ms"] <= run["p99_ms"] <= run["max_ms"] for run in figures["runs"])
    assert idle["background_done_eps"] is None
    assert busy["background_done_eps"] > 0
    assert figures.keys() >= {"method", "n", "machine", "date"}
