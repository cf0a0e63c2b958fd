from __future__ import annotations

import pytest

from headrace.bench.scale import scale

FLOWS = ("state", "record")


@pytest.mark.slow
def test_scale_tells_the_ratio_of_two_processes_to_one_and_who_burns_what_while_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headrace.bench.scale.SETTLE_S", 1.0)
    monkeypatch.setattr("headrace.bench.scale.FLOWS", FLOWS)

    figures = scale(events=2000, partitions=4, repeats=1, idle_seconds=1.0, users=100, items=200)

    assert figures["ratio_2_to_1"] == pytest.approx(figures["eps_2"] / figures["eps_1"], rel=0.01)
    assert figures["cpu_us_1"] > 0 < figures["cpu_us_2"]
    by_service = figures["idle_by_service"]
    assert set(by_service) == {"valkey", "warehouse", "api-0", "supervisor", *(f"flow-{name}" for name in FLOWS)}
    assert figures["idle_cpu_share"] == pytest.approx(sum(by_service.values()), abs=1e-3)
    assert figures.keys() >= {"method", "n", "machine", "date"}
