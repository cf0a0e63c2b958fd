"""`headrace doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

from headrace.keys import DataDirError, prepare_data_dir
from headrace.settings import Settings, SettingsError, without_secret
from headrace.supervisor import LOCK_FILE
from headrace.system import answers
from headrace.up import require_free_port
from headrace.valkey import ValkeyMissing, server_binary
from online.connect import BadUrl, open_log, open_state, open_warehouse
from online.ports import Unavailable, WarehouseError

MIN_FREE_BYTES = 2 * 1024**3


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    is_ok: bool
    finding: str


def checks(settings: Settings) -> list[Check]:
    """Return what was found, in the order in which a start would meet it."""
    found = [_python(), _data_dir(settings), _disk(settings), _port(settings)]
    if settings.log:
        found.append(_reached("log", settings.log, lambda: _probe_log(settings.log)))
    if settings.state:
        found.append(_reached("state", settings.state, lambda: _probe_state(settings.state)))
    if not (settings.log and settings.state):
        found.append(_valkey())
    if settings.warehouse:
        found.append(_reached("warehouse", settings.warehouse, lambda: _probe_warehouse(settings.warehouse)))
    return found


def _python() -> Check:
    version = platform.python_version()
    is_ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Check("python", is_ok, version if is_ok else f"{version}: run with Python 3.11 or 3.12 (uv fetches one)")


def _data_dir(settings: Settings) -> Check:
    try:
        path = prepare_data_dir(settings.data_dir)
    except DataDirError as error:
        return Check("data_dir", False, str(error))
    holder = path / LOCK_FILE
    pid = holder.read_text(encoding="ascii").strip() if holder.exists() else ""
    if pid.isdecimal() and os.path.exists(f"/proc/{pid}"):
        return Check("data_dir", True, f"{path}, in use by process {pid}")
    return Check("data_dir", True, f"{path}, free")


def _disk(settings: Settings) -> Check:
    place = settings.data_dir.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    said = f"{free / 1024**3:.1f} GiB free"
    return Check("disk", free > MIN_FREE_BYTES, said if free > MIN_FREE_BYTES else f"{said}: make room, or --data-dir")


def _port(settings: Settings) -> Check:
    try:
        require_free_port(settings.host, settings.port)
    except SettingsError as error:
        if answers(f"http://{settings.host}:{settings.port}/health/live"):
            return Check("port", True, f"{settings.host}:{settings.port} is answered by a running headrace")
        return Check("port", False, str(error))
    return Check("port", True, f"{settings.host}:{settings.port} is free")


def _valkey() -> Check:
    try:
        return Check("valkey", True, f"embedded, {server_binary().name}")
    except ValkeyMissing as error:
        return Check("valkey", False, str(error))


def _reached(name: str, url: str, probe: Callable[[], None]) -> Check:
    shown = without_secret(url)
    try:
        probe()
    except (BadUrl, Unavailable, WarehouseError) as error:
        return Check(name, False, f"{shown}: {error}")
    return Check(name, True, f"{shown} answers")


def _probe_log(url: str) -> None:
    log = open_log(url, timeout_s=2.0)
    log.extent("events", 0)
    log.close()


def _probe_state(url: str) -> None:
    state = open_state(url, timeout_s=2.0)
    state.checkpoint("state", 0)
    state.close()


def _probe_warehouse(url: str) -> None:
    warehouse = open_warehouse(url)
    warehouse.query("SELECT 1")
    warehouse.close()
