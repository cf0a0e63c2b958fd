"""The lock of a data directory: one supervisor at a time, and none beside the remains of a killed one."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

LOCK_FILE = "lock"

_POLL_S = 0.05
_PATIENCE_S = 5.0  # longer than the guard of a killed supervisor needs


class AlreadyRunning(Exception):
    """Another supervisor holds the data directory; the message is one line that says what to do."""


def take_lock(data_dir: Path) -> int:
    """Return the descriptor of the locked `<data>/lock`, waiting only for the remains of a killed supervisor.

    The file holds the pid of its last owner. The lock lasts until the last process that inherited the descriptor
    (here: the guard) closes it or ends.

    Raises:
        AlreadyRunning: its owner lives.
        OSError: the file cannot be opened or written.
    """
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    patience = time.monotonic() + _PATIENCE_S
    while not _try_lock(descriptor):
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        if _is_running(holder) or time.monotonic() > patience:
            os.close(descriptor)
            raise AlreadyRunning(
                f"headrace already runs in {data_dir} (pid {holder or 'unknown'}): "
                f"stop it first (kill {holder or 'PID'}), or choose another directory with --data-dir"
            )
        time.sleep(_POLL_S)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def holder(data_dir: Path) -> str | None:
    """Return the pid of the supervisor that holds the data directory, None when none does."""
    try:
        descriptor = os.open(data_dir / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    else:
        return None
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(pid: str) -> bool:
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
