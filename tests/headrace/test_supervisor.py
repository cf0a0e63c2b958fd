from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.lock import AlreadyRunning
from headrace.supervisor import Service, ServiceFailed, StopFlag, Supervisor, free_port

# A service with a grandchild; both ignore SIGTERM, as a hung server would.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
with open(sys.argv[1] + ".part", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""

PARENT = """
import sys, time
from pathlib import Path
from headrace.supervisor import Service, Supervisor

data_dir = Path(sys.argv[1])
def stubborn(name):
    mark = data_dir / name
    return Service(name, [sys.executable, "-c", sys.argv[2], str(mark)], mark.exists, grace_s=0.2)
with Supervisor([stubborn("a"), stubborn("b")], data_dir):
    print("started", flush=True)
    time.sleep(600)
"""


def script(name: str, code: str, **options: object) -> Service:
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    return Service(name, argv, **{"ready": lambda: True, "grace_s": 5.0, **options})  # type: ignore[arg-type]


def sleeper(name: str) -> Service:
    return Service(name, ["sleep", "600"], lambda: True)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < timeout_s, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - start


def start_parent(data_dir: Path) -> tuple[subprocess.Popen[str], list[int]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data_dir), STUBBORN], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    pids = [int(pid) for name in ("a", "b") for pid in (data_dir / name).read_text().split()]
    return parent, pids


def test_services_start_in_order_and_stop_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = """
        import signal, sys, time
        def write(word):
            with open({order!r}, "a") as file:
                file.write(word + " ")
        def stop(*_):
            write("-{name}")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        write("+{name}")
        time.sleep(600)
    """
    services = [
        script(
            name,
            code.format(order=str(order), name=name),
            ready=lambda name=name: order.exists() and f"+{name}" in order.read_text(),
        )
        for name in ("one", "two", "three")
    ]
    ready: list[str] = []
    with Supervisor(services, tmp_path, on_ready=ready.append):
        pass

    assert order.read_text().split() == ["+one", "+two", "+three", "-three", "-two", "-one"]
    assert ready == ["one", "two", "three"]


def test_a_killed_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    assert len(pids) == 4
    assert all(is_running(pid) for pid in pids)

    parent.kill()
    parent.communicate()

    assert wait_for(lambda: not any(is_running(pid) for pid in pids)) < 3.0


def test_the_next_supervisor_waits_for_the_remains_of_a_killed_one(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    parent.kill()
    parent.communicate()

    with Supervisor([sleeper("next")], tmp_path):
        assert not any(is_running(pid) for pid in pids)


def test_a_second_start_in_the_data_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    with Supervisor([], tmp_path):
        second = subprocess.run(
            [sys.executable, "-c", PARENT, str(tmp_path), STUBBORN], capture_output=True, text=True, check=False
        )
        with pytest.raises(AlreadyRunning) as error:
            Supervisor([sleeper("never")], tmp_path).start()

    assert second.returncode != 0
    assert "AlreadyRunning" in second.stderr.splitlines()[-1]
    for part in (f"pid {os.getpid()}", str(tmp_path), f"kill {os.getpid()}", "--data-dir"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_the_data_directory_is_free_again_after_a_stop(tmp_path: Path) -> None:
    for _ in range(2):
        with Supervisor([sleeper("a")], tmp_path):
            pass


def test_a_crashed_service_is_started_again_and_the_reason_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Supervisor([sleeper("a")], tmp_path) as supervisor, caplog.at_level(logging.ERROR):
        before = supervisor.pid("a")
        supervisor.kill("a", signal.SIGKILL)
        wait_for(lambda: supervisor.pid("a") not in (None, before))
        health = supervisor.health()["a"]

    assert health.restarts == 1
    assert "SIGKILL" in health.reason
    assert any("SIGKILL" in record.getMessage() for record in caplog.records)


def test_restarts_of_a_service_that_keeps_crashing_come_less_and_less_often(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    code = f"open({str(runs)!r}, 'a').write('x'); import time; time.sleep(0.2); raise SystemExit('no luck')"
    with Supervisor([script("a", code)], tmp_path) as supervisor:
        time.sleep(2.5)
        health = supervisor.health()["a"]

    assert 2 <= len(runs.read_text()) <= 5
    assert "exited with status 1" in health.reason
    assert "no luck" in health.reason


def test_workers_that_outlive_their_crashed_service_are_ended_before_it_starts_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    service = Service("a", [sys.executable, "-c", STUBBORN, str(mark)], mark.exists, grace_s=0.2)
    with Supervisor([service], tmp_path) as supervisor:
        grandchild = int(mark.read_text().split()[1])
        mark.unlink()
        supervisor.kill("a", signal.SIGKILL)
        wait_for(mark.exists)

        assert not is_running(grandchild)


def test_a_service_that_ends_at_once_fails_the_start_and_stops_the_others(tmp_path: Path) -> None:
    supervisor = Supervisor([sleeper("a"), script("b", "raise SystemExit('port in use')", ready=bool)], tmp_path)

    with pytest.raises(ServiceFailed, match=r"b did not start: exited with status 1.*port in use") as error:
        supervisor.start()
    assert "\n" not in str(error.value)
    assert supervisor.pid("a") is None


def test_a_program_that_is_not_there_fails_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceFailed, match=r"127.*no-such-program"):
        Supervisor([Service("a", ["/no-such-program"], bool)], tmp_path).start()


def test_a_service_that_never_gets_ready_fails_the_start_and_is_killed(tmp_path: Path) -> None:
    service = Service("a", ["sleep", "600"], bool, ready_timeout_s=0.3)

    with pytest.raises(ServiceFailed, match=r"not ready within 0\.3 s"):
        Supervisor([service], tmp_path).start()


def test_a_service_that_ignores_its_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    service = Service("a", [sys.executable, "-c", STUBBORN, str(mark)], mark.exists, grace_s=0.2)
    with Supervisor([service], tmp_path):
        pids = [int(pid) for pid in mark.read_text().split()]
        start = time.monotonic()

    assert time.monotonic() - start < 3
    assert not any(is_running(pid) for pid in pids)


def test_restart_replaces_the_process_and_counts_as_no_crash(tmp_path: Path) -> None:
    with Supervisor([sleeper("a")], tmp_path) as supervisor:
        before = supervisor.pid("a")
        supervisor.restart("a")

        assert supervisor.pid("a") not in (None, before)
        assert supervisor.health()["a"] == ("ready", supervisor.pid("a"), 0, "")


def test_output_goes_to_the_log_and_the_environment_to_the_service(tmp_path: Path) -> None:
    service = script("a", "import os; print(os.environ['COLOUR'], flush=True); import time; time.sleep(600)")
    log = tmp_path / "log" / "a.log"
    coloured = Service(service.name, service.argv, lambda: "green" in log.read_text(), env={"COLOUR": "green"})
    with Supervisor([coloured], tmp_path):
        pass

    assert log.read_text() == "green\n"


def test_a_lost_guard_is_replaced_and_still_guards(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    guard = guard_of(parent.pid)
    os.kill(guard, signal.SIGKILL)
    wait_for(lambda: guard_of(parent.pid) not in (0, guard))
    time.sleep(0.1)
    parent.kill()
    parent.communicate()

    assert wait_for(lambda: not any(is_running(pid) for pid in pids)) < 3.0


def guard_of(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    children += [
        child for task in Path(f"/proc/{parent}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    for child in children:
        if "headrace-guard" in Path(f"/proc/{child}/cmdline").read_text() and is_running(int(child)):
            return int(child)
    return 0


def test_wait_returns_when_told_to_stop(tmp_path: Path) -> None:
    for stop in (StopFlag(), threading.Event()):
        with Supervisor([], tmp_path) as supervisor:
            threading.Timer(0.05, stop.set).start()
            supervisor.wait(stop)

        assert stop.is_set()


def test_a_burst_of_signals_stops_it_once_and_cleanly(tmp_path: Path) -> None:
    code = """
import signal, sys
from pathlib import Path
from headrace.supervisor import Service, StopFlag, Supervisor
stop = StopFlag()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: stop.set())
with Supervisor([Service("a", ["sleep", "600"], lambda: True)], Path(sys.argv[1])) as supervisor:
    print(supervisor.pid("a"), flush=True)
    supervisor.wait(stop)
"""
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    for number in range(40):
        parent.send_signal((signal.SIGTERM, signal.SIGINT)[number % 2])
    parent.communicate(timeout=10)

    assert parent.returncode == 0
    assert not is_running(child)


def test_a_free_port_is_free() -> None:
    assert 1024 <= free_port() <= 65535
