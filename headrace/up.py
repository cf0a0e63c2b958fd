"""`headrace up`: the whole system under one supervisor, until it is told to stop."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from headrace.cli.app import print_json, say
from headrace.keys import KEYS_FILE
from headrace.probe import require_answers, require_free_port
from headrace.settings import Settings, without_secret
from headrace.supervisor import StopFlag, Supervisor
from headrace.system import System, plan

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_system(settings: Settings, *, as_json: bool) -> None:
    """Start everything, print where it is, and block until SIGINT or SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="headrace: %(message)s")
    require_free_port(settings.host, settings.port)
    require_answers(settings)
    system = plan(settings)
    with started(system, quiet=as_json) as (supervisor, stop):
        if as_json:
            print_json(where(system))
        else:
            say(f"ready: {system.api_url}/docs   (Ctrl-C stops everything)")
        supervisor.wait(stop)
        say("stopping")


@contextmanager
def started(system: System, *, quiet: bool) -> Iterator[tuple[Supervisor, StopFlag]]:
    """Run a system's services. SIGINT and SIGTERM break off its start; once it has started, they set the flag.

    Raises:
        KeyboardInterrupt: it was told to stop before everything was ready.
        AlreadyRunning, ServiceFailed: as `Supervisor.start`.
    """
    stop = StopFlag()
    _on_signals(_break_off)
    with Supervisor(system.services, system.settings.data_dir, on_ready=announced(quiet)) as supervisor:
        _on_signals(lambda number, frame: stop.set())
        yield supervisor, stop


def _break_off(number: int, frame: FrameType | None) -> NoReturn:
    _on_signals(signal.SIG_IGN)  # a second Ctrl-C must not break off the stopping
    raise KeyboardInterrupt


def _on_signals(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def announced(quiet: bool) -> Callable[[str], None]:
    """Return a callback that tells when a service became ready."""
    return (lambda name: None) if quiet else (lambda name: say(f"  {name} is up"))


def where(system: System) -> dict[str, object]:
    """Return the URLs of the system, without secrets, and where the secrets are."""
    settings = system.settings
    return {
        "api": system.api_url,
        "docs": f"{system.api_url}/docs",
        "metrics": f"{system.api_url}/metrics",
        "log": without_secret(settings.log),
        "state": without_secret(settings.state),
        "warehouse": without_secret(settings.warehouse),
        "data_dir": str(settings.data_dir),
        "keys_file": str(settings.data_dir / KEYS_FILE),
        "services": [service.name for service in system.services],
    }
