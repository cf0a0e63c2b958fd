"""Embedded services shared by the tests of a session; each starts when the first test asks for it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from headrace import valkey
from headrace.keys import KEYS_FILE, load_keys, prepare_data_dir
from headrace.supervisor import Supervisor, free_port
from headrace.warehouse import service as warehouse_service
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.ports import Unavailable
from online.topics import SINGLE_TOPICS, USER_TOPICS

pytest_plugins = ("real_brokers",)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an embedded Valkey; tests keep apart by their own keys."""
    data_dir = prepare_data_dir(tmp_path_factory.mktemp("valkey"))
    password = load_keys(data_dir).valkey
    with Supervisor([valkey.service(data_dir, password)], data_dir):
        yield valkey.url(valkey.socket_path(data_dir), password)


@pytest.fixture(scope="session")
def new_database(redis_url: str) -> Callable[[], str]:
    """Return the URL of an empty database of that Valkey at each call; of its 15, the oldest comes again."""
    numbers = cycle(range(1, 16))

    def emptied() -> str:
        url = f"{redis_url}?db={next(numbers)}"
        with Redis.from_url(url) as client:
            client.flushdb()
        return url

    return emptied


@pytest.fixture(scope="session")
def warehouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an embedded warehouse; tests keep apart by their own tables."""
    data_dir = prepare_data_dir(tmp_path_factory.mktemp("warehouse"))
    key = load_keys(data_dir).warehouse
    port = free_port()
    with Supervisor([warehouse_service.service(data_dir, port, data_dir / KEYS_FILE)], data_dir):
        yield warehouse_service.url(port, key)


class Switched:
    """A port in front of a real adapter. Switched off, its calls raise Unavailable, `fail_times` those to come."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.is_off = False
        self.fail_times = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.port, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name != "close" and (self.is_off or self.fail_times > 0):
                self.fail_times -= not self.is_off
                raise Unavailable("switched off")
            return method(*args, **kwargs)

        return call


PARTITIONS = 2


@pytest.fixture(scope="session")
def new_ports() -> Callable[[], tuple[Switched, Switched]]:
    """Make an event log in memory, with every topic, two user partitions each, and a state store; both switched."""

    def make() -> tuple[Switched, Switched]:
        log = MemoryLog()
        for topics, partitions in ((USER_TOPICS, PARTITIONS), (SINGLE_TOPICS, 1)):
            for topic in topics:
                log.create(topic, partitions)
        return Switched(log), Switched(MemoryState())

    return make


@pytest.fixture
def switched_ports(new_ports: Callable[[], tuple[Switched, Switched]]) -> tuple[Switched, Switched]:
    """The ports of one test, for the two fixtures below."""
    return new_ports()


@pytest.fixture
def switched_log(switched_ports: tuple[Switched, Switched]) -> Switched:
    """An event log in memory that can be switched off."""
    return switched_ports[0]


@pytest.fixture
def switched_state(switched_ports: tuple[Switched, Switched]) -> Switched:
    """A state store in memory that can be switched off."""
    return switched_ports[1]


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Wait until a check holds and return what it returns; fail when it does not within seconds."""

    def wait(check: Callable[[], Any], within_s: float = 10.0) -> Any:
        deadline = time.monotonic() + within_s
        while not (found := check()):
            assert time.monotonic() < deadline, "it did not come to hold"
            time.sleep(0.005)
        return found

    return wait


@pytest.fixture(scope="session")
def processes_of() -> Callable[[str], list[int]]:
    """Return the processes whose command line or environment names a directory."""

    def find(directory: str) -> list[int]:
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal() or int(process.name) == os.getpid():
                continue
            try:
                said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:  # it has ended
                continue
            if directory.encode() in said:
                found.append(int(process.name))
        return found

    return find


# What Chromium calls itself when nobody looks at it is a robot's name, and of robots nothing is learned.
A_PERSON = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"


@pytest.fixture(scope="module")
def new_context() -> Iterator[Callable[..., Any]]:
    """Open a fresh profile of a real browser, with a person at it; skipped where there is no browser."""
    reason = "playwright is missing: uv sync --group browser"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield lambda **options: browser.new_context(user_agent=A_PERSON, **options)
        browser.close()
