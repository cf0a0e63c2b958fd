"""Independent processes of the state flow on one real log and store: whatever happens, the views are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flows.state import STATE_VIEW
from headrace.bench.stream import Stream, append, messages
from headrace.process import create_topics
from headrace.verify.oracle import Oracle
from online.connect import open_log, open_state
from online.core.checkpoint import decode_checkpoint
from online.core.partition import EVENTS, ITEM, USER
from online.ports import EventLog, StateStore
from replay.history import logged

pytestmark = pytest.mark.slow

PARTITIONS = 16
QUICK = "import flows.lease as lease; lease.TTL_S, lease.RENEW_S = 4.0, 1.0; from headrace.cli import main; main()"

Records = dict[tuple[int, str, str], bytes]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process of the state flow, with leases that end soon."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(log: str, state: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "HEADRACE_LOG": log, "HEADRACE_STATE": state, "HEADRACE_DATA_DIR": str(tmp_path)}
        with (tmp_path / f"flow-{len(processes)}.log").open("wb") as output:
            process = subprocess.Popen([sys.executable, "-c", QUICK, "flow", "state"], env=env, stderr=output)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def folded(log: EventLog, state: StateStore) -> bool:
    """Say whether everything in the log is committed."""
    checkpoints = [decode_checkpoint(state.checkpoint(STATE_VIEW, p)) for p in range(PARTITIONS)]
    return all(log.extent(EVENTS, p).last == c.positions.get(EVENTS, "") for p, c in enumerate(checkpoints))


def records(state: StateStore) -> Records:
    return {(p, f, key): value for p in range(PARTITIONS) for f in (USER, ITEM) for key, value in state.scan(p, f)}


def one_by_one(log: EventLog) -> Records:
    found: Records = {}
    for partition in range(PARTITIONS):
        oracle = Oracle(partition)
        for batch in logged(log, EVENTS, partition):
            for message in batch.messages:
                oracle.fold(message)
        found.update({(partition, f, key): v for f in (USER, ITEM) for key, v in oracle.records[f].items()})
    return found


def shares(state: StateStore) -> list[int]:
    """Return how many partitions each living process keeps."""
    return sorted(len(held) for held in state.roster("state").values())


def pids(state: StateStore) -> list[int]:
    return [int(member.rpartition(":")[2]) for member in state.roster("state")]


def test_one_and_four_processes_make_equal_views(
    new_database: Callable[[], str], start: Start, eventually: Callable[..., Any]
) -> None:
    stream = Stream(users=300, items=200, seed=3)
    log_url, groups = new_database(), {new_database(): processes for processes in (1, 4)}
    with ExitStack() as stack:
        log, states = open_log(log_url), {url: open_state(url) for url in groups}
        for port in (log, *states.values()):
            stack.callback(port.close)
        create_topics(log, PARTITIONS)
        append(log, EVENTS, messages(stream.events(3000), PARTITIONS))
        for url, processes in groups.items():
            for _ in range(processes):
                start(log_url, url)
        for url, state in states.items():
            even = [PARTITIONS // groups[url]] * groups[url]
            eventually(partial(lambda state, even: shares(state) == even, state, even), within_s=60.0)
        append(log, EVENTS, messages(stream.events(2000), PARTITIONS))
        expected = one_by_one(log)
        for state in states.values():
            eventually(partial(folded, log, state), within_s=60.0)
            assert records(state) == expected


def test_killed_stalled_and_added_under_load_nothing_is_lost_or_doubled(
    new_database: Callable[[], str], start: Start, eventually: Callable[..., Any]
) -> None:
    stream = Stream(users=300, items=200, seed=4)
    url = new_database()
    log, state = open_log(url), open_state(url)
    with closing(log), closing(state):
        create_topics(log, PARTITIONS)

        def load(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not until():
                append(log, EVENTS, messages(stream.events(100), PARTITIONS))
                time.sleep(0.05)

        killed, stalled = start(url, url), start(url, url)
        load(60.0, until=lambda: shares(state) == [8, 8])
        killed.kill()
        load(0.5)
        start(url, url)
        load(60.0, until=lambda: shares(state) == [8, 8] and killed.pid not in pids(state))
        stalled.send_signal(signal.SIGSTOP)
        load(60.0, until=lambda: shares(state) == [16])
        assert shares(state) == [16]
        load(1.0)
        stalled.send_signal(signal.SIGCONT)
        load(60.0, until=lambda: shares(state) == [8, 8])
        assert shares(state) == [8, 8]
        load(1.0)
        eventually(lambda: folded(log, state), within_s=60.0)
        assert records(state) == one_by_one(log)

        stalled.terminate()
        stalled.wait()
        assert stalled.pid not in pids(state)
