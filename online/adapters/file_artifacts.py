"""Artifacts in a directory: `<root>/<name>/<version>/` with the files and a `manifest.json`, and a `LATEST` pointer.

A version is written aside, made durable and renamed into place, then `LATEST` is replaced: a reader sees all of a
version or nothing, and after a crash the version before is still the latest. Publishers of one name take turns by a
file lock, which the system drops with its process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from online.ports import Artifact, CorruptArtifact, Fenced

KEEP = 3
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # no separators, no leading dot, and never LATEST
_MANIFEST = "manifest.json"
_LATEST = "LATEST"
_ASIDE = ".aside-"  # versions being written or removed; left over only by a crash
_CHUNK = 1 << 20


class FileArtifacts:
    """An artifact store on a local directory, which is made when missing.

    The newest three versions of a name are kept. A file that a reader has mapped stays readable after its removal.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def publish(
        self, name: str, files: Mapping[str, bytes | Path], lineage: Mapping[str, Any], *, after: int | None = None
    ) -> Artifact:
        """Publish the next version from bytes or from files to copy; the lineage is any JSON object.

        Raises:
            Fenced: `after` is given and is not the newest version.
            ValueError: a name is not of `[a-z0-9._-]`, there is no file, or the lineage holds NaN or infinity.
            TypeError: the lineage is not JSON.
            OSError: it cannot be written; the latest version stays what it was.
        """
        _check_names(name, *files)
        if not files or _MANIFEST in files:
            msg = f"an artifact needs files, none of them named {_MANIFEST}: {sorted(files)}"
            raise ValueError(msg)
        json.dumps(dict(lineage), allow_nan=False)
        folder = self._root / name
        folder.mkdir(exist_ok=True)
        _sync_folder(self._root)
        with _turn(folder):
            version = max(_versions(folder), default=0) + 1
            if after is not None and version != after + 1:
                raise Fenced(f"{name} {after} is not the newest version: {version - 1} is")
            aside = folder / f"{_ASIDE}{version}"
            shutil.rmtree(aside, ignore_errors=True)
            _write_version(aside, name, version, files, lineage)
            aside.rename(folder / str(version))
            _sync_folder(folder)
            _replace_latest(folder, version)
            _remove_old(folder)
        return Artifact(name, version, {f: folder / str(version) / f for f in files}, dict(lineage))

    def newest(self, name: str) -> int:
        """Return the highest version number there is; 0 when there is none."""
        _check_names(name)
        folder = self._root / name
        return max(_versions(folder), default=0) if folder.exists() else 0

    def latest(self, name: str) -> int | None:
        """Return the newest version's number by one small read.

        Raises:
            ValueError: the name is not of `[a-z0-9._-]`.
            CorruptArtifact: `LATEST` holds no number.
        """
        _check_names(name)
        try:
            text = (self._root / name / _LATEST).read_bytes()
        except FileNotFoundError:
            return None
        if not re.fullmatch(rb"[1-9][0-9]{0,17}\n", text):
            msg = f"{name}: {_LATEST} holds no version number"
            raise CorruptArtifact(msg)
        return int(text)

    def open(self, name: str, version: int | None = None) -> Artifact | None:
        """Return a version, by default the newest, once every file matches the sha256 in its manifest.

        Raises:
            ValueError: the name is not of `[a-z0-9._-]`.
            CorruptArtifact: a file or the manifest is missing or damaged.
        """
        _check_names(name)
        if version is not None:
            return self._verified(name, version)
        wanted = self.latest(name)
        while wanted is not None:
            artifact = self._verified(name, wanted)
            if artifact is not None:
                return artifact
            missing, wanted = wanted, self.latest(name)  # removed meanwhile, if newer ones came
            if wanted == missing:
                msg = f"{name}: {_LATEST} names version {missing}, which is missing"
                raise CorruptArtifact(msg)
        return None

    def _verified(self, name: str, version: int) -> Artifact | None:
        folder = self._root / name / str(int(version))
        try:
            manifest = _read_manifest(folder, name, version)
            for file, entry in manifest["files"].items():
                with (folder / file).open("rb") as content:
                    if _digest(content) != (entry["sha256"], entry["size"]):
                        msg = f"{name} {version}: {file} differs from its manifest"
                        raise CorruptArtifact(msg)
        except FileNotFoundError as missing:
            if not folder.exists():
                return None
            msg = f"{name} {version}: {Path(missing.filename).name} is missing"
            raise CorruptArtifact(msg) from None
        return Artifact(name, version, {f: folder / f for f in manifest["files"]}, manifest["lineage"])


def _check_names(*names: str) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            msg = f"names are 1 to 64 of a-z, 0-9, dot, dash and underscore, the first a-z or 0-9: {name!r}"
            raise ValueError(msg)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _versions(folder: Path) -> list[int]:
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()]


def _write_version(
    aside: Path, name: str, version: int, files: Mapping[str, bytes | Path], lineage: Mapping[str, Any]
) -> None:
    aside.mkdir()
    entries = {}
    for file, source in files.items():
        if isinstance(source, bytes):
            (aside / file).write_bytes(source)
        else:
            shutil.copyfile(source, aside / file)
        with (aside / file).open("rb+") as written:
            sha256, size = _digest(written)
            os.fsync(written.fileno())
        entries[file] = {"sha256": sha256, "size": size}
    body = {"name": name, "version": version, "files": entries, "lineage": dict(lineage)}
    _write_durably(aside / _MANIFEST, json.dumps({**body, "sha256": _body_digest(body)}, indent=1).encode())
    _sync_folder(aside)


def _read_manifest(folder: Path, name: str, version: int) -> dict[str, Any]:
    try:
        body = json.loads((folder / _MANIFEST).read_bytes())
        stated = body.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError):
        stated, body = None, {}
    if stated is None or stated != _body_digest(body) or (body["name"], body["version"]) != (name, version):
        msg = f"{name} {version}: the manifest is damaged"
        raise CorruptArtifact(msg)
    _check_names(*body["files"])
    manifest: dict[str, Any] = body
    return manifest


def _body_digest(body: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest without its own digest, in canonical form."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _digest(content: BinaryIO) -> tuple[str, int]:
    sha256, size = hashlib.sha256(), 0
    while chunk := content.read(_CHUNK):
        sha256.update(chunk)
        size += len(chunk)
    return sha256.hexdigest(), size


def _replace_latest(folder: Path, version: int) -> None:
    aside = folder / f"{_ASIDE}latest"
    _write_durably(aside, b"%d\n" % version)
    aside.replace(folder / _LATEST)
    _sync_folder(folder)


def _remove_old(folder: Path) -> None:
    """Remove all but the newest versions and what crashed publishers left, each out of sight before it goes."""
    for version in sorted(_versions(folder))[:-KEEP]:
        (folder / str(version)).rename(folder / f"{_ASIDE}old-{version}")
    for leftover in folder.glob(f"{_ASIDE}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
