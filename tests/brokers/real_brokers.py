"""Real Pulsar and Kafka brokers for the tests: a pytest plugin, loaded by `tests/conftest.py`.

Each starts when the first test asks for it and ends with the session, also when pytest is killed. A test that uses one
carries the marker `brokers`, and is skipped, with the reason, where no broker can run.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.supervisor import Service, Supervisor, free_port
from online.ports import Unavailable

SCRIPTS = Path(__file__).parent
FIXTURES = {"pulsar_broker", "kafka_broker"}
JAVA = 17
FETCH_S = 600.0  # the jars, the first time on a machine
READY_S = 300.0  # on a busy machine a broker takes minutes to start


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker. `url` is what clients open, `admin_url` its HTTP interface ("" where it has none)."""

    name: str
    url: str
    admin_url: str
    supervisor: Supervisor

    def kill(self) -> None:
        """Kill it (-9) and wait until it is ready again, on the same ports and data.

        Raises:
            Unavailable: it does not get there.
        """
        before = self.supervisor.health()[self.name].restarts
        self.supervisor.kill(self.name)
        deadline = time.monotonic() + READY_S
        while (now := self.supervisor.health()[self.name]).restarts == before or now.state != "ready":
            if time.monotonic() > deadline:
                raise Unavailable(f"the broker does not come back: {now.reason}")
            time.sleep(0.05)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what uses a broker, and give it time to fetch and start one."""
    if FIXTURES & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.brokers)
    if item.get_closest_marker("brokers"):
        item.add_marker(pytest.mark.timeout(FETCH_S + READY_S))


@pytest.fixture(scope="session")
def pulsar_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Pulsar broker; tests keep apart by their own namespaces."""
    with run_pulsar(tmp_path_factory.mktemp("pulsar")) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka broker; its `url` is a list of bootstrap servers. Tests keep apart by their own topics."""
    with run_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@contextmanager
def run_pulsar(directory: Path, extra: str = "", token: str = "") -> Iterator[Broker]:
    """Run a Pulsar broker of its own in an empty directory, which goes with it.

    `extra` are more settings, `token` is what to show it when they make it ask for one.
    """
    port, http_port, bookie_port = (free_port() for _ in range(3))
    admin_url = f"http://127.0.0.1:{http_port}"
    ports, is_ready = (port, http_port, bookie_port), partial(_is_healthy, http_port, token)
    with _run("pulsar", directory, extra, ports, is_ready) as supervisor:
        yield Broker("pulsar", f"pulsar://127.0.0.1:{port}", admin_url, supervisor)


@contextmanager
def run_kafka(directory: Path, extra: str = "") -> Iterator[Broker]:
    """Run a Kafka broker of its own in an empty directory, which goes with it; `extra` are more settings."""
    port, controller_port = free_port(), free_port()
    servers = f"127.0.0.1:{port}"
    with _run("kafka", directory, extra, (port, controller_port), partial(_knows_itself, servers)) as supervisor:
        yield Broker("kafka", servers, "", supervisor)


@contextmanager
def _run(
    name: str, directory: Path, extra: str, ports: tuple[int, ...], ready: Callable[[], bool]
) -> Iterator[Supervisor]:
    _fetch_jars(name)
    data = directory / "data"
    data.mkdir()
    (data / "extra.conf").write_text(extra, encoding="utf-8")
    service = Service(
        name=name,
        argv=[str(SCRIPTS / f"{name}.sh"), str(data), *map(str, ports)],
        ready=ready,
        ready_timeout_s=READY_S,
        grace_s=20.0,
    )
    try:
        with Supervisor([service], directory) as supervisor:
            yield supervisor
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _fetch_jars(name: str) -> None:
    """Fetch a broker's jars, once on a machine; skip the test where this machine lacks what it takes."""
    if _java_version() < JAVA:
        pytest.skip(f"no broker runs here: it takes java {JAVA} or newer")
    fetching = subprocess.run([SCRIPTS / "jars.sh", name], capture_output=True, text=True)
    if fetching.returncode and shutil.which("mvn") is None:
        pytest.skip(f"no {name} runs here: mvn is missing, which fetches its jars")
    if fetching.returncode:
        pytest.skip(f"no {name} runs here: Maven does not get its jars: {fetching.stderr.strip()[-300:]}")


def _java_version() -> int:
    """Return the major version of the Java that the scripts take, 0 when there is none."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{home}/bin/java" if home else "java")
    if java is None:
        return 0
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def _is_healthy(port: int, token: str) -> bool:
    """Say whether a Pulsar broker works; its default namespace is the last thing that its start makes."""
    is_made = b"public/default" in _got(port, "namespaces/public", token)
    return is_made and _got(port, "brokers/health", token) == b"ok"


def _got(port: int, path: str, token: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15.0)  # its check of itself is slow where all is
    try:
        connection.request("GET", f"/admin/v2/{path}", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


def _knows_itself(servers: str) -> bool:
    """Say whether a Kafka broker is open for clients; its port listens earlier."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=1.0).brokers)
    except KafkaException:
        return False
