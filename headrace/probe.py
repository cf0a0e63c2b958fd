"""What can be known before a start: is the port free, is there a data directory, do the services given answer."""

from __future__ import annotations

import socket
from collections.abc import Callable

from headrace.keys import KEYS_FILE
from headrace.settings import Settings, SettingsError, without_secret
from online.connect import open_log, open_state, open_warehouse
from online.core.partition import EVENTS
from online.ports import LogError, Unavailable, WarehouseError

TIMEOUT_S = 2.0


def require_free_port(host: str, port: int) -> None:
    """Raise SettingsError when something listens on the port already: workers share it, so they would not notice."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None


def require_answers(settings: Settings) -> None:
    """Raise SettingsError when a service given by URL does not answer: children would wait for it, and not say so."""
    for name, url in given(settings).items():
        problem = problem_with(name, url)
        if problem:
            raise SettingsError(f"HEADRACE_{name.upper()}: {problem}; start it, or unset the variable to embed one")


def require_data_dir(settings: Settings) -> None:
    """Raise SettingsError when embedded services are meant and there is no data directory of theirs to look into."""
    if settings.log and settings.state and settings.warehouse:
        return
    if not (settings.data_dir.expanduser() / KEYS_FILE).exists():
        raise SettingsError(f"nothing ever ran in {settings.data_dir}: name its directory with --data-dir")


def given(settings: Settings) -> dict[str, str]:
    """Return the URLs of the services that are not embedded, by setting."""
    urls = {"log": settings.log, "state": settings.state, "warehouse": settings.warehouse}
    return {name: url for name, url in urls.items() if url}


def problem_with(name: str, url: str) -> str:
    """Return in one line why the service of a setting cannot be used; empty when it answers."""
    try:
        _PROBES[name](url)
    except Unavailable as error:
        return f"{without_secret(url)} does not answer ({_one_line(error)})"
    except (LogError, WarehouseError) as error:
        return f"{without_secret(url)} refuses ({_one_line(error)})"
    return ""


def forgets(url: str) -> bool:
    """Say whether a state store that answers forgets records that are long gone.

    Raises:
        Unavailable: it does not answer any more.
    """
    state = open_state(url, timeout_s=TIMEOUT_S)
    try:
        return state.forgets()
    finally:
        state.close()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _probe_log(url: str) -> None:
    log = open_log(url, timeout_s=TIMEOUT_S)
    try:
        log.partitions(EVENTS)
    finally:
        log.close()


def _probe_state(url: str) -> None:
    state = open_state(url, timeout_s=TIMEOUT_S)
    try:
        state.checkpoint("", 0)
    finally:
        state.close()


def _probe_warehouse(url: str) -> None:
    warehouse = open_warehouse(url)
    try:
        warehouse.query("SELECT 1")
    finally:
        warehouse.close()


_PROBES: dict[str, Callable[[str], None]] = {
    "log": _probe_log,
    "state": _probe_state,
    "warehouse": _probe_warehouse,
}
