from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from headrace.keys import KEYS_FILE, load_keys
from headrace.supervisor import Service, Supervisor, free_port
from headrace.warehouse import service as warehouse_service
from online.connect import open_warehouse
from online.ports import Unavailable

COLUMNS = "(a UInt64, b String) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"


def embedded(data_dir: Path, port: int) -> tuple[Service, str]:
    key = load_keys(data_dir).warehouse
    return warehouse_service.service(data_dir, port, data_dir / KEYS_FILE), warehouse_service.url(port, key)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_acknowledged_insert_survives_kills_and_a_restart(tmp_path: Path) -> None:
    service, url = embedded(tmp_path, free_port())
    with Supervisor([service], tmp_path) as supervisor:
        warehouse = open_warehouse(url)
        warehouse.execute(f"CREATE TABLE t {COLUMNS}")
        killer = threading.Thread(target=kill_again_and_again, args=(supervisor, 3))
        killer.start()
        acknowledged: list[int] = []
        while killer.is_alive() or len(acknowledged) < 10:
            block = len(acknowledged)
            rows = [(block * 10 + number, "x") for number in range(10)]
            try:
                warehouse.insert("t", ["a", "b"], rows, token=str(block))
            except Unavailable:
                time.sleep(0.02)  # the same block again, under the same token
            else:
                acknowledged.append(block)
        killer.join()
        restarts = supervisor.health()["warehouse"].restarts
    with Supervisor([service], tmp_path):
        counts = warehouse.query("SELECT count(), uniqExact(a), max(a) FROM t")
    warehouse.close()

    assert restarts == 3
    assert counts == [(len(acknowledged) * 10, len(acknowledged) * 10, len(acknowledged) * 10 - 1)]


def kill_again_and_again(supervisor: Supervisor, times: int) -> None:
    for count in range(times):
        wait_for(lambda: supervisor.health()["warehouse"].state == "ready")
        time.sleep(0.15)
        supervisor.kill("warehouse", signal.SIGKILL)
        wait_for(lambda count=count: supervisor.health()["warehouse"].restarts > count)
    wait_for(lambda: supervisor.health()["warehouse"].state == "ready")


def test_sigterm_ends_it_cleanly_and_what_it_cannot_use_is_told_in_one_line(tmp_path: Path) -> None:
    port = free_port()
    service, _ = embedded(tmp_path, port)
    process = subprocess.Popen(service.argv)
    wait_for(service.ready)
    busy = subprocess.run(service.argv, capture_output=True, text=True, check=False)
    options = ["--data-dir", str(tmp_path), "--port", str(port), "--key-file", str(tmp_path / "none")]
    keyless = subprocess.run(
        [sys.executable, "-m", "headrace.warehouse.server", *options], capture_output=True, text=True, check=False
    )
    process.terminate()

    assert process.wait(10) == 0
    assert busy.returncode == keyless.returncode == 1
    assert "Address already in use" in busy.stderr
    assert "cannot read the keys" in keyless.stderr
    assert len(busy.stderr.splitlines()) == len(keyless.stderr.splitlines()) == 1


def test_the_supervising_process_loads_neither_server_nor_engine() -> None:
    code = "import sys, headrace.warehouse.service; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "headrace" in loaded
    assert not {"starlette", "uvicorn", "chdb", "lz4"} & set(loaded)
