from __future__ import annotations

import pytest

from headrace.bench.serve import serve


@pytest.mark.slow
def test_serve_tells_latency_and_cost_of_personal_slates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.bench.serve.FLOWS", ("state", "index"))  # nothing is clicked that could be learned

    figures = serve(rates=(20,), users=200, items=600, history=3000, background_eps=20, seconds=1.0)

    (run,) = figures["runs"]
    assert run.keys() >= {"rate", "n", "p50_ms", "p90_ms", "p99_ms", "errors", "cpu_us_per_request"}
    assert run["errors"] == 0
    assert run["n"] > 5
    assert 0 < run["p50_ms"] <= run["p90_ms"] <= run["p99_ms"]
    assert figures["saturation_rps"] > 0
    assert figures["stages_us"].keys() >= {"record", "retrieve", "features", "score", "slots"}
    slates = figures["slates"]
    assert (slates["n"], slates["personal"], slates["with_vectors"]) == (run["n"], 1.0, 1.0)
    assert slates["in_session"] > 0.8
    assert slates["candidates"] >= 200
