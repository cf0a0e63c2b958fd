from __future__ import annotations

from headrace.bench.sessions import sessions


def test_sessions_tells_the_cost_of_clicks_and_queries_and_the_memory() -> None:
    figures = sessions(kept=2000, events=20_000, items=2000, queries=50)

    assert figures["sessions"] == 2000
    assert min(figures[name] for name in ("update_us", "update_one_us", "query_p99_ms")) > 0
    assert 0.5 < figures["mb"] < 50
    assert figures["n"] == 50
