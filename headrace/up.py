"""`headrace up`: the whole system under one supervisor, until it is told to stop."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable

from headrace.cli.app import print_json, say
from headrace.keys import KEYS_FILE
from headrace.settings import Settings, SettingsError, without_secret
from headrace.supervisor import StopFlag, Supervisor
from headrace.system import System, plan


def run_system(settings: Settings, *, as_json: bool) -> None:
    """Start everything, print where it is, and block until SIGINT or SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="headrace: %(message)s")
    require_free_port(settings.host, settings.port)
    system = plan(settings)
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Supervisor(system.services, system.settings.data_dir, on_ready=announced(as_json)) as supervisor:
        if as_json:
            print_json(where(system))
        else:
            say(f"ready: {system.api_url}/docs   (Ctrl-C stops everything)")
        supervisor.wait(stop)
        say("stopping")


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


def require_free_port(host: str, port: int) -> None:
    """Raise SettingsError when something listens on the port already: workers share it, so they would not notice."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None
