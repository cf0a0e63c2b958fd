from __future__ import annotations

import pytest

from headrace.bench.rebuild import rebuild


@pytest.mark.slow
def test_rebuild_folds_archive_and_log_into_the_same_views() -> None:
    figures = rebuild(events=2000, users=50, items=100, repeats=2)

    assert figures["equal"]
    assert figures["events_per_s"] > 0
    assert [once["messages"] for once in figures["repeats"]] == [2100, 2100]
    assert figures.keys() >= {"method", "n", "machine", "date"}
