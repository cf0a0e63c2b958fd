from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from headrace import valkey
from headrace.supervisor import Supervisor
from online.connect import open_state


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    client = Redis.from_url(redis_url)
    yield client
    client.close()


def wait_until_ready(supervisor: Supervisor, old_pid: int | None) -> None:
    end = time.monotonic() + 20
    while supervisor.pid("valkey") in (None, old_pid) or supervisor.health()["valkey"].state != "ready":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_wheel_holds_a_server_that_runs() -> None:
    output = subprocess.run([valkey.server_binary(), "--version"], capture_output=True, text=True, check=True)

    assert "v=9.1" in output.stdout


def test_the_configuration_quotes_what_could_end_a_line() -> None:
    lines = valkey.config(Path('/a "b"/c\\d'), Path("/s"), "key", 10**9).splitlines()

    assert 'dir "/a \\"b\\"/c\\\\d"' in lines


def test_it_appends_every_write_and_listens_on_the_socket_only(client: Redis) -> None:
    settings = client.config_get("appendonly", "appendfsync", "save", "port", "unixsocketperm")

    assert settings == {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "port": "0",
        "unixsocketperm": "700",
    }


def test_its_memory_is_bounded_by_half_of_the_machines_and_nothing_is_evicted(client: Redis) -> None:
    settings = client.config_get("maxmemory", "maxmemory-policy")

    assert settings == {"maxmemory": str(valkey.machine_memory() // 2), "maxmemory-policy": "noeviction"}


def test_it_asks_for_the_password(redis_url: str) -> None:
    path = redis_url.partition("@")[2]
    client = Redis.from_url(f"unix://{path}")

    with pytest.raises(AuthenticationError):
        client.ping()
    client.close()
    assert not valkey.is_ready(f"unix://:wrong@{path}")
    assert valkey.is_ready(redis_url)


def test_the_password_is_in_no_process_list_and_in_a_private_file(tmp_path: Path) -> None:
    service = valkey.service(tmp_path, "a-secret")
    path = tmp_path / "valkey" / "valkey.conf"

    assert not any("a-secret" in word for word in service.argv)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_its_url_opens_a_state_store(redis_url: str) -> None:
    state = open_state(redis_url)

    assert state.get(0, "nothing", "here") is None
    state.close()


def test_nobody_listening_is_not_ready(tmp_path: Path) -> None:
    assert not valkey.is_ready(valkey.url(tmp_path / "none.sock", "key"))


def test_acknowledged_writes_survive_a_kill_and_a_restart(tmp_path: Path) -> None:
    server = valkey.url(valkey.socket_path(tmp_path), "key")
    client = Redis.from_url(server)
    with Supervisor([valkey.service(tmp_path, "key")], tmp_path) as supervisor:
        for number in range(1000):
            client.rpush("numbers", number)
        pid = supervisor.pid("valkey")
        supervisor.kill("valkey", signal.SIGKILL)
        wait_until_ready(supervisor, pid)
        after_kill = client.llen("numbers")
    with Supervisor([valkey.service(tmp_path, "key")], tmp_path):
        after_restart = client.llen("numbers")
    client.close()

    assert (after_kill, after_restart) == (1000, 1000)


def test_a_data_directory_with_a_long_path_gets_a_private_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / 'with "quotes" and spaces'
    deep.mkdir(parents=True)
    socket = valkey.socket_path(deep)

    assert len(os.fsencode(socket)) <= 100
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert valkey.socket_path(deep) == socket
    with Supervisor([valkey.service(deep, "key")], deep):
        assert valkey.is_ready(valkey.url(socket, "key"))
    socket.parent.rmdir()


def test_a_socket_directory_that_others_could_enter_is_not_used_again(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    first = valkey.socket_path(deep)
    first.parent.chmod(0o777)
    second = valkey.socket_path(deep)

    assert second.parent != first.parent
    first.parent.rmdir()
    second.parent.rmdir()


def test_a_socket_path_in_a_url_may_hold_any_character(tmp_path: Path) -> None:
    data_dir = tmp_path / "a b#c?d@e%f"
    data_dir.mkdir()
    with Supervisor([valkey.service(data_dir, "k")], data_dir):
        assert valkey.is_ready(valkey.url(valkey.socket_path(data_dir), "k"))
