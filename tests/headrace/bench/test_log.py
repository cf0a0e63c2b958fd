from __future__ import annotations

from typing import Any

import pytest

from headrace.bench.log import log

FIGURES = {"append_eps", "read_eps", "ingest_eps", "append_us", "read_us", "ingest_us", "p50_ms", "p99_ms"}


@pytest.mark.slow
@pytest.mark.brokers
def test_both_logs_are_measured_with_the_same_and_compared(pulsar_broker: Any) -> None:
    url = f"{pulsar_broker.url}/public/bench?admin={pulsar_broker.admin_url}"

    figures = log(url, events=2000, repeats=2, rate=200, seconds=1.0, users=100, items=200)

    for name in ("embedded", "pulsar"):
        assert figures[name].keys() > FIGURES
        assert all(figures[name][figure] > 0 for figure in FIGURES)
        assert figures[name]["latency_n"] == 200
    assert figures["ingest_ratio_spread"][0] <= figures["ingest_ratio"] <= figures["ingest_ratio_spread"][1]
    assert figures.keys() >= {"method", "n", "machine", "date"}
