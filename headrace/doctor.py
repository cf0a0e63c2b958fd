"""`headrace doctor`: what is wrong on this machine, and what to do about it."""

from __future__ import annotations

import platform
import shutil
import sys
from typing import NamedTuple

from headrace.keys import DataDirError, prepare_data_dir
from headrace.lock import holder
from headrace.probe import forgets, given, problem_with, require_free_port
from headrace.settings import Settings, SettingsError, without_secret
from headrace.system import answers, api_url
from headrace.valkey import ValkeyMissing, server_binary

MIN_FREE_BYTES = 2 * 1024**3


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    is_ok: bool
    finding: str


def checks(settings: Settings) -> list[Check]:
    """Return what was found, in the order in which a start would meet it."""
    found = [_python(), _data_dir(settings), _disk(settings), _port(settings)]
    if not (settings.log and settings.state):
        found.append(_valkey())
    return found + [_answer(name, url) for name, url in given(settings).items()]


def _python() -> Check:
    version = platform.python_version()
    is_ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Check("python", is_ok, version if is_ok else f"{version}: run with Python 3.11 or 3.12 (uv fetches one)")


def _data_dir(settings: Settings) -> Check:
    try:
        path = prepare_data_dir(settings.data_dir)
    except DataDirError as error:
        return Check("data_dir", False, str(error))
    pid = holder(path)
    return Check("data_dir", True, f"{path}, free" if pid is None else f"{path}, in use by process {pid}")


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
        if answers(f"{api_url(settings)}/health/live"):
            return Check("port", True, f"{settings.host}:{settings.port} is answered by a running headrace")
        return Check("port", False, str(error))
    return Check("port", True, f"{settings.host}:{settings.port} is free")


def _valkey() -> Check:
    try:
        return Check("valkey", True, f"embedded, {server_binary().name}")
    except ValkeyMissing as error:
        return Check("valkey", False, str(error))


def _answer(name: str, url: str) -> Check:
    problem = problem_with(name, url)
    if problem:
        return Check(name, False, problem)
    advice = "" if name != "state" or forgets(url) else ", but keeps expired records: Valkey 9 and Redis 8 forget them"
    return Check(name, True, f"{without_secret(url)} answers{advice}")
