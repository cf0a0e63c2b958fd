"""A system whose every service can be broken alone: state store, log and warehouse of their own behind proxies."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit, urlunsplit

from headrace import valkey
from headrace.bench.rig import Rig
from headrace.keys import KEYS_FILE, load_keys, prepare_data_dir
from headrace.process import create_topics
from headrace.settings import Settings, own_settings
from headrace.supervisor import Service, Supervisor, free_port
from headrace.system import plan
from headrace.verify.proxy import Address, FaultProxy
from headrace.warehouse import service as warehouse_service
from online.connect import open_log, open_state

WORKERS = 2
VALKEY_MB = 256
FLOWS = ("state", "record")


@dataclass(slots=True)
class Store:
    """A server with a directory of its own. It can be killed and stay dead, and be stopped amid whatever it does."""

    service: Service
    directory: Path
    _supervisor: Supervisor | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self._supervisor = Supervisor([self.service], self.directory)
        self._supervisor.start()

    def kill(self) -> None:
        """Kill it (-9); `start` starts it again."""
        assert self._supervisor is not None
        self._supervisor.kill(self.service.name)
        self.close()

    def stop(self) -> None:
        """Let it stand still, its connections open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on from where it stood still."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None

    def _signal(self, sent: signal.Signals) -> None:
        assert self._supervisor is not None
        self._supervisor.kill(self.service.name, sent)


@dataclass(frozen=True, slots=True)
class Way:
    """A store, and the proxy through which those reach it whose behaviour is looked at."""

    store: Store
    proxy: FaultProxy


@dataclass(frozen=True, slots=True)
class Proxied:
    """The running system. The API workers reach state and log through their proxies, the recorder the warehouse."""

    rig: Rig
    state: Way
    log: Way
    warehouse: Way


@contextmanager
def proxied_system() -> Iterator[Proxied]:
    """Start it all in a temporary directory, and stop and remove everything at the end."""
    with TemporaryDirectory(prefix="headrace-ladder-") as directory, ExitStack() as stack:
        root = Path(directory)
        state_url, state = _valkey(root / "state", stack)
        log_url, log = _valkey(root / "log", stack)
        warehouse_url, warehouse = _warehouse(root / "warehouse", stack)
        base = own_settings(prepare_data_dir(root / "data"), free_port()).model_copy(
            update={"api_workers": WORKERS, "warehouse": through(warehouse_url, warehouse.proxy.port)}
        )
        direct = base.model_copy(update={"state": state_url, "log": log_url})
        seen = base.model_copy(
            update={"state": through(state_url, state.proxy.port), "log": through(log_url, log.proxy.port)}
        )
        services = [
            *plan(direct, flows=FLOWS, api=False, warehouse=False).services,
            *plan(seen, flows=(), api=True, warehouse=False).services,
        ]
        supervisor = stack.enter_context(Supervisor(services, base.data_dir))
        yield Proxied(_rig(direct, supervisor, stack), state, log, warehouse)


def _rig(settings: Settings, supervisor: Supervisor, stack: ExitStack) -> Rig:
    log, state = open_log(settings.log), open_state(settings.state)
    stack.callback(log.close)
    stack.callback(state.close)
    return Rig(settings, supervisor, log, state, create_topics(log, settings.partitions))


def _valkey(directory: Path, stack: ExitStack) -> tuple[str, Way]:
    password = load_keys(prepare_data_dir(directory)).valkey
    socket = valkey.socket_path(directory)
    service = valkey.service(directory, password, VALKEY_MB * 1024 * 1024)
    return valkey.url(socket, password), _way(Store(service, directory), str(socket), stack)


def _warehouse(directory: Path, stack: ExitStack) -> tuple[str, Way]:
    key, port = load_keys(prepare_data_dir(directory)).warehouse, free_port()
    service = warehouse_service.service(directory, port, directory / KEYS_FILE)
    return warehouse_service.url(port, key), _way(Store(service, directory), ("127.0.0.1", port), stack)


def _way(store: Store, address: Address, stack: ExitStack) -> Way:
    stack.callback(store.close)
    store.start()
    return Way(store, stack.enter_context(FaultProxy(address)))


def through(url: str, port: int) -> str:
    """Return the URL of the same service by way of a loopback port.

    >>> through("unix://:key@/data/valkey.sock", 7000), through("http://default:key@127.0.0.1:8123/default", 7000)
    ('redis://:key@127.0.0.1:7000', 'http://default:key@127.0.0.1:7000/default')
    """
    parts = urlsplit(url)
    netloc = f"{parts.username or ''}:{quote(parts.password or '', safe='')}@127.0.0.1:{port}"
    if parts.scheme == "unix":
        parts = parts._replace(scheme="redis", path="")
    return urlunsplit(parts._replace(netloc=netloc))
