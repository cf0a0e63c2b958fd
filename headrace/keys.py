"""The data directory and the keys of the embedded services that lie in it."""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

KEYS_FILE = "keys.json"
_OPEN_TO_OTHERS = 0o077


class DataDirError(Exception):
    """The data directory cannot be used; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Secrets of the embedded services, kept out of `repr` and so out of logs."""

    valkey: str
    warehouse: str


def prepare_data_dir(path: str | Path) -> Path:
    """Create the directory with mode 0700, or take over one that is ours, and return its absolute path.

    A directory that others may enter is closed to them, but only if it is empty or already holds our keys:
    `--data-dir /tmp` must not lock everyone else out of /tmp.

    Raises:
        DataDirError: it is no directory, read-only, belongs to someone else, or is shared and in use.
    """
    directory = Path(path).expanduser().absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _take_over(directory)
        _require_writable(directory)
    except OSError as error:
        raise DataDirError(
            f"cannot use the data directory {directory} ({error.strerror}): choose another with --data-dir"
        ) from error
    return directory


def load_keys(data_dir: Path) -> Keys:
    """Return the keys in `<data>/keys.json`, generating the file (mode 0600) at the first start.

    Raises:
        DataDirError: the file cannot be read or written, or does not hold the keys.
    """
    path = data_dir / KEYS_FILE
    try:
        if not path.exists():
            _generate(path)
        path.chmod(0o600)
        return read_keys(path)
    except OSError as error:
        raise DataDirError(f"cannot keep the keys in {path} ({error.strerror})") from error


def read_keys(path: Path) -> Keys:
    """Return the keys in a file written by `load_keys`.

    Raises:
        DataDirError: the file is missing, or is not such a file.
    """
    try:
        document = json.loads(path.read_bytes())
        keys = Keys(valkey=document["valkey"], warehouse=document["warehouse"])
    except OSError as error:
        raise DataDirError(f"cannot read the keys in {path} ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirError(_damaged(path)) from error
    if not (isinstance(keys.valkey, str) and isinstance(keys.warehouse, str) and keys.valkey and keys.warehouse):
        raise DataDirError(_damaged(path))
    return keys


def _take_over(directory: Path) -> None:
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise DataDirError(
            f"the data directory {directory} belongs to user id {status.st_uid}, not to you ({os.geteuid()}): "
            "choose another with --data-dir"
        )
    if not status.st_mode & _OPEN_TO_OTHERS:
        return
    if any(directory.iterdir()) and not (directory / KEYS_FILE).exists():
        raise DataDirError(
            f"{directory} holds other files and is open to others (mode {stat.S_IMODE(status.st_mode):04o}): "
            "choose a new or empty directory with --data-dir"
        )
    directory.chmod(0o700)


def _require_writable(directory: Path) -> None:
    probe = directory / f".probe-{secrets.token_hex(8)}"
    probe.touch(mode=0o600)
    probe.unlink()


def _generate(path: Path) -> None:
    """Write a complete file or none; when two first starts race, both go on with the same file."""
    document = {"valkey": secrets.token_urlsafe(32), "warehouse": secrets.token_urlsafe(32)}
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        _link_unless_there(draft, path)
    finally:
        draft.unlink()


def _link_unless_there(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return


def _damaged(path: Path) -> str:
    return f"{path} does not hold the keys: delete it and start again (new keys are generated, no data is lost)"
