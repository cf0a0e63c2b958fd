"""API keys that are made and revoked while the system runs: hashes, scopes, tenants and expiry, in a file.

The file lies in the data directory and holds no key, only SHA-256 of keys: they are 256 random bits, which nobody
guesses, so that a slow hash would only slow requests down. Every API worker looks each second whether it has changed.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from headrace.keys import DataDirError
from headrace.settings import API_KEYS_FILE, Settings
from schemas.tenant import DEFAULT_TENANT
from serving.grant import Grant, Rate, rate_of
from serving.scopes import SECRET, Scope

logger = logging.getLogger(__name__)

LOOK_S = 1.0
ID_CHARS = 12  # of the digest, which name a key in lists and in what is audited


class StoredKey(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key of the file. Times are epoch seconds."""

    sha256: str
    name: str
    scopes: list[Scope]
    tenant: str = DEFAULT_TENANT
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    per_s: float | None = None
    burst: int | None = None

    @property
    def id(self) -> str:
        """The name under which it is listed."""
        return self.sha256[:ID_CHARS]

    def grant(self) -> Grant:
        """Return what the key opens."""
        expires_at = math.inf if self.expires_at is None else self.expires_at
        return Grant(self.sha256, frozenset(self.scopes), self.tenant, expires_at, rate_of(self.per_s, self.burst))


class _KeysFile(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[StoredKey] = []


_decode = msgspec.json.Decoder(_KeysFile).decode


class NoSuchKey(ValueError):
    """There is no key that is meant, or more than one."""


def stored_keys(data_dir: Path) -> list[StoredKey]:
    """Return the keys of the file, those that are revoked too; none where there is no file.

    Raises:
        DataDirError: the file cannot be read, or is none of ours.
    """
    path = data_dir / API_KEYS_FILE
    try:
        return _decode(path.read_bytes()).keys
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataDirError(f"cannot read the API keys in {path} ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise DataDirError(f"{path} does not hold API keys ({error})") from error


def create_key(
    data_dir: Path,
    *,
    name: str,
    scopes: list[Scope],
    now: float,
    tenant: str = DEFAULT_TENANT,
    expires_at: float | None = None,
    rate: Rate | None = None,
) -> tuple[str, StoredKey]:
    """Make a key and return it, which nobody can do again, with what is kept of it."""
    key = f"{'hrp' if 'page' in scopes else 'hrs'}_{secrets.token_urlsafe(32)}"
    stored = StoredKey(
        sha256=sha256(key.encode()).hexdigest(),
        name=name,
        scopes=scopes,
        tenant=tenant,
        created_at=now,
        expires_at=expires_at,
        per_s=None if rate is None else rate.per_s,
        burst=None if rate is None else rate.burst,
    )
    with _locked(data_dir):
        _write(data_dir, [*stored_keys(data_dir), stored])
    return key, stored


def revoke_key(data_dir: Path, id_or_name: str, *, now: float) -> StoredKey:
    """Revoke the key of an id or a name.

    Raises:
        NoSuchKey: none of the keys that count is meant, or several are.
    """
    with _locked(data_dir):
        keys = stored_keys(data_dir)
        meant = [key for key in keys if key.revoked_at is None and id_or_name in (key.id, key.name)]
        if len(meant) != 1:
            raise NoSuchKey(f"{len(meant) or 'no'} keys of that id or name count: 'headrace keys list' shows their ids")
        revoked = msgspec.structs.replace(meant[0], revoked_at=now)
        _write(data_dir, [revoked if key is meant[0] else key for key in keys])
    return revoked


class KeyRing:
    """What keys open now: those of the settings, and those of the file, which is read again when it changes.

    A file that cannot be read changes nothing: the keys known before go on counting. Once any key was asked for, one is
    asked for to the end of the process, even after the last one was revoked.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._data_dir, self._clock = settings.data_dir, clock
        self._fixed = {
            **{digest: Grant(digest) for digest in settings.key_digests},
            **{digest: Grant(digest, frozenset({"page"})) for digest in settings.publishable_key_digests},
        }
        self._grants: dict[str, Grant] | None = self._fixed or None
        self._seen: tuple[int, ...] | None = None
        self._looked = -math.inf

    def __call__(self) -> Mapping[str, Grant] | None:
        """Return what keys open, by digest; None where none is asked for."""
        now = self._clock()
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._look()
        return self._grants

    def _look(self) -> None:
        try:
            status = (self._data_dir / API_KEYS_FILE).stat()
            seen: tuple[int, ...] | None = (status.st_mtime_ns, status.st_ino, status.st_size)
        except FileNotFoundError:
            seen = None
        except OSError as error:
            logger.error("cannot look at the API keys: %s", error)
            return
        if seen == self._seen:
            return
        try:
            keys = stored_keys(self._data_dir)
        except DataDirError as error:
            logger.error("the API keys known before go on counting: %s", error)
            return
        self._seen = seen
        self._grants = {**{key.sha256: key.grant() for key in keys if key.revoked_at is None}, **self._fixed}


def parse_scopes(names: list[str]) -> list[Scope]:
    """Return the scopes of a key.

    Raises:
        ValueError: one is unknown, there is none, or a page is to hold a secret one.

    >>> parse_scopes(["read", "ingest", "read"])
    ['ingest', 'read']
    """
    found: set[Scope] = {scope for scope in (*SECRET, "page") if scope in names}
    unknown = sorted(set(names) - found)
    if unknown or not found:
        raise ValueError(f"scopes are {', '.join(sorted(SECRET))} or page, not {', '.join(unknown) or 'none'}")
    if "page" in found and len(found) > 1:
        raise ValueError("everybody can read the key of a page: it has no other scope")
    return sorted(found)


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Keep other commands from changing the file meanwhile."""
    descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(data_dir: Path, keys: list[StoredKey]) -> None:
    """Replace the file by a complete one."""
    path = data_dir / API_KEYS_FILE
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(_KeysFile(keys)), indent=2))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
