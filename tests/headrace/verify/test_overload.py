from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest

from headrace import valkey
from headrace.bench.rig import Rig, rig, until_served, wait_until
from headrace.supervisor import Supervisor
from headrace.verify.overload import Outcome, verify_overload
from online.adapters.redis_client import connect
from online.connect import open_log, open_state
from online.core.partition import EVENTS, USER, partition_of
from online.core.record import decode_record
from online.ports import EventLog, StateStore, Unavailable
from replay.history import logged
from schemas.event import decode_event

MB = 1_000_000


@pytest.mark.parametrize("wrong", ["lost", "doubled", "errors", "refused_without_retry_after", "restarts"])
def test_a_run_is_correct_only_with_nothing_lost_doubled_or_unanswered(wrong: str) -> None:
    assert Outcome(refused=10, unsent=3, rss_growth_mb=900.0, catch_up_s=900.0).is_correct
    assert not Outcome(**{wrong: 1}).is_correct


@pytest.fixture
def small_valkey(tmp_path: Path) -> Iterator[tuple[Supervisor, EventLog, StateStore]]:
    url = valkey.url(valkey.socket_path(tmp_path), "key")
    with Supervisor([valkey.service(tmp_path, "key", memory_bytes=20 * MB)], tmp_path) as supervisor:
        log, state = open_log(url), open_state(url)
        yield supervisor, log, state
        log.close()
        state.close()


def set_memory(data_dir: Path, memory_bytes: int) -> None:
    client = connect(valkey.url(valkey.socket_path(data_dir), "key"), timeout_s=5.0)
    client.config_set("maxmemory", memory_bytes)
    client.close()


def append_until_refused(log: EventLog) -> int:
    messages, kept = [(0, b"x" * 10_000)] * 10, 0
    while True:
        try:
            kept += len(log.append("events", messages))
        except Unavailable:
            return kept


def test_a_store_out_of_memory_is_unavailable_for_writes_and_readable_and_trimming_makes_room(
    small_valkey: tuple[Supervisor, EventLog, StateStore], tmp_path: Path
) -> None:
    _, log, state = small_valkey
    assert log.fill() < 0.5
    generation = state.claim("view", 0).generation
    kept = append_until_refused(log)

    assert log.fill() > 0.9
    set_memory(tmp_path, 1 * MB)  # the failed append has left a little room
    with pytest.raises(Unavailable):
        state.commit("view", 0, generation, {"family": {"key": b"value"}}, b"1")
    assert sum(len(batch.messages) for batch in logged(log, "events", 0)) == kept
    set_memory(tmp_path, 20 * MB)
    log.trim("events", 0, log.extent("events", 0).last)
    assert log.fill() < 0.5
    state.commit("view", 0, generation, {"family": {"key": b"value"}}, b"1")


ON_A_SMALL_DISK = """
import sys, time
from pathlib import Path
from headrace import valkey
from headrace.supervisor import Supervisor
from online.connect import open_log
from online.ports import Unavailable
from replay.history import logged

place = Path(sys.argv[1])
ballast = place / "ballast"
ballast.write_bytes(bytes(2_000_000))
with Supervisor([valkey.service(place, "key")], place) as supervisor:
    log = open_log(valkey.url(valkey.socket_path(place), "key"))
    kept = refused = 0
    while refused < 20:
        try:
            kept += len(log.append("events", [(0, b"%08d" % kept + bytes(10_000))]))
        except Unavailable:
            refused += 1
            time.sleep(0.02)
    ballast.unlink()
    until = time.monotonic() + 20.0
    while True:
        try:
            log.append("events", [(0, b"the end")])
            break
        except Unavailable:
            assert time.monotonic() < until, supervisor.health()
            time.sleep(0.05)
    numbers = [message.payload[:8] for batch in logged(log, "events", 0) for message in batch.messages]
    assert kept > 0
    assert [b"%08d" % n for n in range(kept)] == [n for n in dict.fromkeys(numbers) if n != b"the end"][:kept]
    log.close()
"""


def test_a_store_whose_disk_is_full_refuses_and_comes_back_with_all_it_acknowledged(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=6m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, "true"], check=False).returncode:
        pytest.skip("mounting a small tmpfs needs unprivileged user namespaces")

    argv = [*own_mounts, mount, "sh", str(tmp_path), sys.executable, ON_A_SMALL_DISK]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr


class Client:
    """Posts events of one user and asks for slates, over one connection a request."""

    def __init__(self, whole: Rig) -> None:
        self._whole = whole

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        http = HTTPConnection(self._whole.settings.host, self._whole.settings.port, timeout=20.0)
        try:
            http.request(method, path, body)
            return http.getresponse().status
        finally:
            http.close()

    def post(self, numbers: range) -> int:
        rows = [{"event_id": str(n), "event_type": "view", "user_id": "1", "item_id": "a"} for n in numbers]
        return self.ask("POST", "/v1/events", msgspec.json.encode({"events": rows}))


def numbers(whole: Rig) -> list[int]:
    """Return the numbers of the user's events as they lie in the log, what was sent again dropped."""
    batches = logged(whole.log, EVENTS, partition_of("u1", whole.partitions))
    numbers = [int(decode_event(message.payload).event_id) for batch in batches for message in batch.messages]
    return list(dict.fromkeys(numbers))


def counted(whole: Rig) -> int:
    payload = whole.state.get(partition_of("u1", whole.partitions), USER, "u1")
    return 0 if payload is None else sum(decode_record(payload).counts.values())


@pytest.mark.slow
def test_neither_a_stopped_consumer_nor_a_stalled_log_nor_a_dead_worker_loses_reorders_or_stalls_anything() -> None:
    with rig(flows=("state",), api=True) as whole:
        client = Client(whole)
        until_served(whole, 0)
        flow, store = whole.supervisor.pid("flow-state"), whole.supervisor.pid("valkey")
        assert flow is not None
        assert store is not None

        os.kill(flow, signal.SIGSTOP)
        assert [client.post(range(n, n + 100)) for n in range(0, 1000, 100)] == [202] * 10
        assert client.ask("GET", "/v1/recommendations/1") == 200
        assert counted(whole) == 0
        os.kill(flow, signal.SIGCONT)
        wait_until(lambda: counted(whole) == 1000, "the flow does not catch up")

        os.kill(store, signal.SIGSTOP)
        assert [client.post(range(n, n + 100)) for n in range(1000, 2000, 100)] == [202] * 10
        assert client.ask("GET", "/v1/recommendations/1") == 200
        whole.supervisor.kill("api-0")
        os.kill(store, signal.SIGCONT)
        whole.supervisor.restart("api-0")
        assert client.post(range(2000, 2100)) == 202
        wait_until(lambda: counted(whole) == 2100, "not all events are counted")
        assert numbers(whole) == list(range(2100))


@pytest.mark.slow
def test_a_flood_is_refused_with_advice_and_every_acknowledged_event_counts_once() -> None:
    outcome = verify_overload(seconds=2.0, factor=30.0, seed=3, calibration_s=1.0)

    assert outcome.is_correct, outcome
    assert outcome.accepted > 0
    assert outcome.refused > outcome.accepted
    assert outcome.retry_after_s[0] >= 1
    assert outcome.slates > 0
