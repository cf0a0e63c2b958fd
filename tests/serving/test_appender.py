from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import serving.appender
from serving.appender import Appender, Refused
from serving.spool import Spool, Spooled

Open = Callable[..., Appender]


@pytest.fixture
def open_appender(switched_log: Any, tmp_path: Path) -> Iterator[Open]:
    opened: list[Appender] = []

    def start(name: str = "api-0", **options: Any) -> Appender:
        appender = Appender(switched_log, tmp_path, name, **options)
        opened.append(appender)
        appender.start()
        return appender

    yield start
    for appender in opened:
        appender.close()


def event(number: int, size: int = 10) -> Spooled:
    return "events", 0, b"%d " % number + b"x" * size


def append(appender: Appender, *messages: Spooled) -> None:
    async def append_soon() -> None:
        await asyncio.wait_for(appender.append(messages), timeout=20.0)

    asyncio.run(append_soon())


def logged(log: Any, topic: str = "events", partition: int = 0) -> list[int]:
    batches = log.port.read({(topic, partition): ""}, max_messages=100_000, wait_s=0.0)
    return [int(message.payload.split()[0]) for batch in batches for message in batch.messages]


def test_appended_events_are_in_the_log(open_appender: Open, switched_log: Any) -> None:
    append(open_appender(), event(1), event(2))

    assert logged(switched_log) == [1, 2]


def test_requests_at_the_same_time_are_all_answered(open_appender: Open, switched_log: Any) -> None:
    appender = open_appender()

    async def many() -> None:
        await asyncio.gather(*(appender.append([event(n)]) for n in range(200)))

    asyncio.run(many())

    assert logged(switched_log) == list(range(200))


def test_with_the_log_away_events_are_kept_on_disk(open_appender: Open, switched_log: Any, tmp_path: Path) -> None:
    appender = open_appender()
    switched_log.is_off = True

    append(appender, event(1))

    assert appender.is_log_away
    assert appender.spooled_bytes > 0
    assert any(b"1 xxx" in path.read_bytes() for path in tmp_path.glob("*.spool"))
    assert logged(switched_log) == []


def test_events_keep_their_order_through_an_outage(
    open_appender: Open, switched_log: Any, eventually: Callable[..., Any]
) -> None:
    appender = open_appender()
    append(appender, event(0))
    switched_log.is_off = True
    for number in range(1, 20):
        append(appender, event(number))
    switched_log.is_off = False
    for number in range(20, 40):
        append(appender, event(number))

    eventually(lambda: len(logged(switched_log)) == 40)
    assert logged(switched_log) == list(range(40))
    assert not appender.is_log_away
    assert appender.spooled_bytes == 0


def test_a_backlog_shrinks_however_fast_events_come_in(
    open_appender: Open, switched_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.appender, "SHIP_MESSAGES", 5)
    monkeypatch.setattr(serving.appender, "RETRY_S", 0.001)
    appender = open_appender()
    switched_log.is_off = True
    append(appender, *map(event, range(500)))
    switched_log.is_off = False

    first = 500
    while appender.spooled_bytes:
        append(appender, *map(event, range(first, first + 50)))
        first += 50
        assert first < 10_000, "the backlog does not shrink"

    assert logged(switched_log) == list(range(first))


def test_with_log_and_spool_full_events_are_refused_and_later_taken(
    open_appender: Open, switched_log: Any, eventually: Callable[..., Any]
) -> None:
    appender = open_appender(cap_bytes=2000)
    switched_log.is_off = True
    append(appender, event(1, size=1500))

    with pytest.raises(Refused, match="cannot take more"):
        append(appender, event(2), event(3, size=1500))
    switched_log.is_off = False
    eventually(lambda: appender.spooled_bytes == 0)
    append(appender, event(4))

    assert logged(switched_log) == [1, 4]


def test_slates_are_on_disk_before_they_are_shipped(
    open_appender: Open, switched_log: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    appender = open_appender()
    switched_log.is_off = True
    for number in range(600):
        appender.keep(("slates", 1, b"%d slate" % number))
    assert any(b"599 slate" in path.read_bytes() for path in tmp_path.glob("*.spool"))
    switched_log.is_off = False

    eventually(lambda: len(logged(switched_log, "slates", 1)) == 600)
    assert logged(switched_log, "slates", 1) == list(range(600))


def test_the_spool_of_a_dead_worker_is_shipped_by_another(
    open_appender: Open, switched_log: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    dead = Spool(tmp_path, "api-7", cap_bytes=10**6)
    dead.append([event(n) for n in range(700)])
    dead.close()

    open_appender()

    eventually(lambda: len(logged(switched_log)) == 700)
    assert logged(switched_log) == list(range(700))
    eventually(lambda: not list(tmp_path.glob("api-7*")))


def test_a_worker_that_stops_ships_what_it_can(open_appender: Open, switched_log: Any, tmp_path: Path) -> None:
    appender = open_appender()
    for number in range(1000):
        appender.keep(("slates", 0, b"%d slate" % number))

    appender.close()

    assert logged(switched_log, "slates") == list(range(1000))
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_stops_while_the_log_is_away_leaves_its_spool_to_the_next(
    open_appender: Open, switched_log: Any, eventually: Callable[..., Any]
) -> None:
    appender = open_appender()
    switched_log.is_off = True
    append(appender, event(1))
    appender.close()
    switched_log.is_off = False

    open_appender()

    eventually(lambda: logged(switched_log) == [1])


def test_events_keep_their_order_through_deaths_amid_an_outage(
    open_appender: Open, switched_log: Any, eventually: Callable[..., Any]
) -> None:
    switched_log.is_off = True
    for life in range(4):  # each dies with its spool unshipped
        appender = open_appender()
        append(appender, *map(event, range(100 * life, 100 * life + 100)))
        appender.close()
    appender = open_appender()
    switched_log.is_off = False
    append(appender, *map(event, range(400, 500)))

    eventually(lambda: len(logged(switched_log)) == 500)
    assert logged(switched_log) == list(range(500))


def test_a_full_disk_refuses_clearly_and_loses_nothing(
    open_appender: Open, switched_log: Any, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    appender = open_appender()
    switched_log.is_off = True
    append(appender, event(1, size=100))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(p.stat().st_size for p in tmp_path.iterdir()) + 50, hard))
    try:
        with pytest.raises(Refused, match="cannot take more"):
            append(appender, event(2, size=100))
        assert appender.refusal
        with pytest.raises(OSError, match=r"space|too large"):
            appender.keep(("slates", 0, b"x" * 100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    append(appender, event(3, size=100))
    switched_log.is_off = False

    eventually(lambda: logged(switched_log) == [1, 3])
    assert logged(switched_log, "slates") == []


def test_a_worker_starts_on_a_full_disk(open_appender: Open, switched_log: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        append(open_appender(), event(1))
    finally:
        tmp_path.chmod(0o700)

    assert logged(switched_log) == [1]


def test_nothing_is_acknowledged_when_the_thread_does_not_run(switched_log: Any, tmp_path: Path) -> None:
    appender = Appender(switched_log, tmp_path, "api-0")

    with pytest.raises(Refused, match="does not run"):
        append(appender, event(1))
    appender.close()
