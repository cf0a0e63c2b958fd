"""A system of a bench's own: temporary data directory, free port, everything gone afterwards."""

from __future__ import annotations

import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from flows.state import STATE_VIEW
from flows.view import committed
from headrace.process import create_topics
from headrace.settings import Settings, own_settings
from headrace.supervisor import Supervisor, free_port
from headrace.system import plan
from online.adapters.pulsar_url import DEFAULT_NAMESPACE, PULSAR_SCHEMES
from online.connect import open_log, open_state
from online.core.catalogue import CATALOGUE_VIEW, ITEMS
from online.core.partition import EVENTS
from online.ports import EventLog, Position, StateStore, Unavailable

PATIENCE_S = 300.0
LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Rig:
    """A running system and its open ports."""

    settings: Settings
    supervisor: Supervisor
    log: EventLog
    state: StateStore
    partitions: int

    @property
    def api_groups(self) -> list[int]:
        """Process groups of the API workers."""
        pids = (self.supervisor.pid(f"api-{number}") for number in range(self.settings.api_workers))
        return [pid for pid in pids if pid is not None]

    def until_folded(self, last: Mapping[int, Position]) -> None:
        """Wait until the state flow has committed each partition's events up to a position.

        Raises:
            Unavailable: it does not get there.
        """
        for partition, position in last.items():
            self._until(STATE_VIEW, EVENTS, partition, position)

    def until_catalogued(self) -> None:
        """Wait until the catalogue view holds all items of the log.

        Raises:
            Unavailable: it does not get there.
        """
        self._until(CATALOGUE_VIEW, ITEMS, 0, self.log.extent(ITEMS, 0).last)

    def _until(self, view: str, topic: str, partition: int, position: Position) -> None:
        def is_there() -> bool:
            return committed(self.state, view, topic, partition) >= position

        wait_until(is_there, f"the {view} view does not reach the end of {topic}")


def until_served(whole: Rig, items: int) -> None:
    """Wait until every API worker knows that many items; each new connection is dealt out to one of them.

    Raises:
        Unavailable: it does not get there.
    """
    url = f"http://{whole.settings.host}:{whole.settings.port}/health/ready"

    ready: set[str] = set()

    def is_there() -> bool:
        with urllib.request.urlopen(url, timeout=5.0) as response:
            told = msgspec.json.decode(response.read())
        if told["items"] >= items:
            ready.add(told["worker"])
        return len(ready) >= whole.settings.api_workers

    wait_until(is_there, f"not all API workers serve {items} items", every_s=0.1)


def wait_until(is_true: Callable[[], bool], complaint: str, *, every_s: float = LOOK_S) -> None:
    """Wait for a condition.

    Raises:
        Unavailable: with the complaint, when it does not come true.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline:
            raise Unavailable(f"{complaint} within {PATIENCE_S:g} s")
        time.sleep(every_s)


def unused(log: str) -> str:
    """Return the URL of a Pulsar log with a namespace of its own, since a bench begins with an empty log.

    The broker keeps the namespace. Other URLs come back as they are.
    """
    parts = urlsplit(log)
    if parts.scheme not in PULSAR_SCHEMES:
        return log
    tenant, namespace = (parts.path.strip("/") or "/".join(DEFAULT_NAMESPACE)).split("/")
    return urlunsplit(parts._replace(path=f"/{tenant}/{namespace}-{uuid.uuid4().hex[:8]}"))


@contextmanager
def rig(
    *,
    flows: tuple[str, ...] = (),
    api: bool = False,
    api_workers: int = 1,
    warehouse: bool = False,
    log: str = "",
) -> Iterator[Rig]:
    """Start some of the system's processes on the embedded services, and stop and remove everything at the end.

    `log` is the URL of a log to use in the place of the embedded one; on Pulsar, a namespace beside the named one.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        settings = own_settings(Path(directory) / "data", free_port(), log=unused(log))
        wanted = settings.model_copy(update={"api_workers": api_workers})
        with running(wanted, flows=flows, api=api, warehouse=warehouse) as started:
            yield started


@contextmanager
def running(
    settings: Settings, *, flows: tuple[str, ...] = (), api: bool = False, warehouse: bool = False
) -> Iterator[Rig]:
    """Start some of the system's processes in the settings' data directory, which stays."""
    system = plan(settings, flows=flows, api=api, warehouse=warehouse)
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor(system.services, system.settings.data_dir))
        log, state = open_log(system.settings.log), open_state(system.settings.state)
        stack.callback(log.close)
        stack.callback(state.close)
        yield Rig(system.settings, supervisor, log, state, create_topics(log, system.settings.partitions))
