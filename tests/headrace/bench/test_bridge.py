from __future__ import annotations

from typing import Any

from headrace.bench.bridge import ENGINES, bridge


def test_both_engines_are_measured_on_the_same_topic(kafka_broker: Any) -> None:
    document = bridge(brokers=kafka_broker.url, events=12_000, repeats=1)

    assert document["n"] == 12_000
    for engine in ENGINES:
        assert document[engine]["events_per_s"] > 0
        assert document[engine]["cpu_us_per_event"] > 0
        assert len(document[engine]["events_per_s_spread"]) == 2
