"""One supervisor for the child processes of `headrace up`: in order, watched, started again, stopped in reverse."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from headrace.guard import Guard
from headrace.lock import take_lock

LOG_DIR = "log"

_POLL_S = 0.05
_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
_STABLE_S = 10.0  # a child that ran this long starts again without delay

_log = logging.getLogger(__name__)

State = Literal["stopped", "starting", "ready", "waiting"]


class ServiceFailed(Exception):
    """A service ended or did not become ready while it was waited for; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Service:
    """How to run one child process.

    `env` is added to the supervisor's own environment. `ready` must not raise and should answer within a second.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_timeout_s: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 5.0


class StopFlag:
    """What a signal handler sets to end `Supervisor.wait`.

    Not a `threading.Event`: its `set` takes a lock, so a second signal (a Ctrl-C is often delivered twice, by the
    terminal and by `uv run`) that interrupts the handler of the first one would wait for itself for ever.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Ask to stop."""
        self._is_set = True

    def is_set(self) -> bool:
        """Return whether a stop was asked for."""
        return self._is_set


class Health(NamedTuple):
    """How a service does; `reason` tells why it last ended by itself."""

    state: State
    pid: int | None
    restarts: int
    reason: str


class Supervisor:
    """Starts services in order, restarts what crashes, stops in reverse order; also a context manager.

    A crashed service is started again for ever, after 0.1 s at first and at most 5 s later on.
    Every method may be called from any thread.
    """

    def __init__(
        self, services: Sequence[Service], data_dir: Path, *, on_ready: Callable[[str], None] | None = None
    ) -> None:
        self._data_dir = data_dir
        self._children = {service.name: _Child(service) for service in services}
        self._on_ready = on_ready or (lambda _name: None)
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._lock_fd: int | None = None
        self._guard: Guard | None = None

    def start(self) -> None:
        """Take the data directory and start every service, each after the one before it is ready.

        Raises:
            AlreadyRunning: another supervisor holds the data directory.
            ServiceFailed: a service did not start; those already started are stopped again.
        """
        self._lock_fd = take_lock(self._data_dir)
        try:
            (self._data_dir / LOG_DIR).mkdir(mode=0o700, exist_ok=True)
            self._guard = Guard(self._lock_fd)
            for child in self._children.values():
                self._launch(child)
                self._await_ready(child)
        except BaseException:
            self.close()
            raise
        self._watcher.start()

    def close(self) -> None:
        """Stop all services in reverse order, by signal and after their grace period by force."""
        self._closing.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for child in reversed(self._children.values()):
            self._stop(child)
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def wait(self, stop: StopFlag | threading.Event) -> None:
        """Block until `stop` is set."""
        while not stop.is_set():
            time.sleep(_POLL_S)

    def pid(self, name: str) -> int | None:
        """Return the process id of a service, None while it is not running."""
        process = self._children[name].process
        return None if process is None else process.pid

    def health(self) -> dict[str, Health]:
        """Return the health of every service by name."""
        return {
            name: Health(child.state, self.pid(name), child.restarts, child.reason)
            for name, child in self._children.items()
        }

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the service's main process; if it ends by that, it is started again."""
        with self._lock:
            process = self._children[name].process
            if process is not None:
                process.send_signal(sig)

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Stop a service in order, start it again and, unless told not to, wait until it is ready.

        Raises:
            ServiceFailed: it did not become ready; it is tried again in the background.
        """
        child = self._children[name]
        with self._lock:
            self._stop(child)
            self._launch(child)
            if wait:
                self._await_ready(child)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _launch(self, child: _Child) -> None:
        service = child.service
        assert self._guard is not None
        with (self._data_dir / LOG_DIR / f"{service.name}.log").open("ab") as log:
            process = self._guard.launch(service.argv, {**os.environ, **service.env}, log)
        child.process, child.state, child.since = process, "starting", time.monotonic()

    def _await_ready(self, child: _Child) -> None:
        while not self._is_up(child):
            if child.state == "waiting":
                raise ServiceFailed(f"{child.service.name} did not start: {child.reason}")
            time.sleep(_POLL_S)

    def _is_up(self, child: _Child) -> bool:
        """Carry a starting child on to ready, or to waiting for its next try."""
        assert child.process is not None
        status = child.process.poll()
        if status is not None:
            self._retry_later(child, _ending(status))
            return False
        if child.service.ready():
            child.state, child.since = "ready", time.monotonic()
            self._on_ready(child.service.name)
            return True
        if time.monotonic() - child.since > child.service.ready_timeout_s:
            self._retry_later(child, f"not ready within {child.service.ready_timeout_s:g} s")
        return False

    def _retry_later(self, child: _Child, ending: str) -> None:
        ran_s = time.monotonic() - child.since
        child.failures = 0 if child.state == "ready" and ran_s > _STABLE_S else child.failures + 1
        self._clear_group(child)
        delay_s = min(_FIRST_RETRY_S * 2 ** max(child.failures - 1, 0), _LAST_RETRY_S)
        child.state, child.since = "waiting", time.monotonic() + delay_s
        path = self._data_dir / LOG_DIR / f"{child.service.name}.log"
        child.reason = f"{ending}; its log {path} ends with: {_last_line(path)}"

    def _watch(self) -> None:
        while not self._closing.wait(_POLL_S):
            with self._lock:
                self._keep_guard()
                for child in self._children.values():
                    self._tend(child)

    def _tend(self, child: _Child) -> None:
        before = child.state
        if before == "starting":
            self._is_up(child)
        elif before == "ready" and child.process is not None:
            status = child.process.poll()
            if status is not None:
                self._retry_later(child, _ending(status))
        elif before == "waiting" and time.monotonic() >= child.since:
            self._relaunch(child)
        if child.state == "waiting" and before != "waiting":
            _log.error("%s: %s; starting it again", child.service.name, child.reason)

    def _relaunch(self, child: _Child) -> None:
        try:
            self._launch(child)
        except OSError as error:  # no memory, process or disk for it now
            child.reason, child.since = str(error), time.monotonic() + _LAST_RETRY_S
            _log.error("%s: %s; trying again", child.service.name, child.reason)
        else:
            child.restarts += 1

    def _keep_guard(self) -> None:
        assert self._guard is not None
        assert self._lock_fd is not None
        if self._guard.is_alive():
            return
        _log.error("the guard process ended; starting another")
        self._guard.close()
        self._guard = Guard(self._lock_fd)
        for child in self._children.values():
            if child.process is not None:
                self._guard.add(child.process.pid)

    def _stop(self, child: _Child) -> None:
        if child.process is not None:
            child.process.send_signal(child.service.stop_signal)
            try:
                child.process.wait(child.service.grace_s)
            except subprocess.TimeoutExpired:
                _log.warning("%s did not stop within %g s: killed", child.service.name, child.service.grace_s)
            self._clear_group(child)
        child.state, child.failures = "stopped", 0

    def _clear_group(self, child: _Child) -> None:
        """End whatever is left of a service: itself when it hangs, workers that outlived it (granian's do)."""
        process, child.process = child.process, None
        assert process is not None
        with suppress(ProcessLookupError, PermissionError):  # nobody left; macOS says EPERM for a zombie
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if self._guard is not None:
            self._guard.remove(process.pid)


@dataclass(slots=True)
class _Child:
    service: Service
    process: subprocess.Popen[bytes] | None = None
    state: State = "stopped"
    since: float = 0.0  # monotonic; while waiting: when to try again
    failures: int = 0
    restarts: int = 0
    reason: str = ""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that was free on the host a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _ending(status: int) -> str:
    """Tell how a process ended.

    >>> _ending(1), _ending(-9)
    ('exited with status 1', 'was ended by SIGKILL')
    """
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 2000, 0))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError as error:
        return f"({error.strerror})"
    return lines[-1].strip() if lines else "(nothing)"
