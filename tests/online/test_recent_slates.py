from __future__ import annotations

import time

from example_slate import example_slate

from online.adapters.memory_log import MemoryLog
from online.recent_slates import recent_slates
from schemas.slate import encode_slate


def log_of(n: int) -> MemoryLog:
    """A log with slates 0 to n-1 in turns in two partitions, and a message that is none."""
    log = MemoryLog()
    log.create("slates", 2)
    for number in range(n):
        slate = example_slate(recommendation_id=f"r{number}", served_at=float(number))
        log.append("slates", [(number % 2, encode_slate(slate))])
    log.append("slates", [(0, b"no slate")])
    return log


def test_the_last_slates_of_all_partitions_come_newest_first() -> None:
    found = recent_slates(log_of(10), partitions=2, most=4, now=time.time())

    assert [slate.recommendation_id for slate in found] == ["r9", "r8", "r7", "r6"]


def test_a_log_with_fewer_slates_gives_all_it_has_however_long_ago() -> None:
    assert len(recent_slates(log_of(3), partitions=2, most=100, now=time.time() + 86_400.0)) == 3
    assert recent_slates(log_of(0), partitions=2, most=100, now=time.time()) == []
