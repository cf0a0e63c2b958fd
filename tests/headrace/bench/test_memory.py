from __future__ import annotations

import pytest

from headrace.bench.memory import memory


@pytest.mark.slow
def test_memory_tells_what_users_and_items_take_and_of_what_it_consists() -> None:
    figures = memory(users=100, events_per_user=20, items=1000)

    users, items = figures["users"], figures["items"]
    assert 50 < users["n"] <= 100
    assert users["bytes_per_user"] > users["record_bytes"] > sum(users["record_fields"].values()) / 2 > 100
    assert "affinities" in users["record_fields"]
    assert items["n"] == 1000
    assert items["mb_per_million"] >= items["matrix_mb_per_million"] + items["graph_mb_per_million"] > 128
