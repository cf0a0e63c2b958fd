"""Snapshots: the records of a view's partition at a position of the log, as an artifact to fold on from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import msgspec

from online.core.checkpoint import Checkpoint
from online.ports import ArtifactStore, CorruptArtifact

from .refold import Refolded

RECORDS_FILE = "records.msgpack"
_length = Struct("<I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, bytes]).decode


def write_snapshot(artifacts: ArtifactStore, name: str, refolded: Refolded, *, step: str) -> int:
    """Publish a snapshot and return its version; `step` names the fold that made it."""
    with tempfile.TemporaryDirectory(prefix="headrace-snapshot-") as directory:
        path = Path(directory) / RECORDS_FILE
        with path.open("wb") as file:
            for family, records in refolded.records.items():
                for key, value in records.items():
                    frame = _encode((family, key, value))
                    file.write(_length.pack(len(frame)))
                    file.write(frame)
        lineage = {"step": step, "positions": refolded.at.positions, "folded": refolded.at.folded}
        return artifacts.publish(name, {RECORDS_FILE: path}, lineage).version


def read_snapshot(artifacts: ArtifactStore, name: str, families: Sequence[str], *, step: str) -> Refolded | None:
    """Return the newest snapshot; None when there is none that is sound and made by the same step."""
    try:
        artifact = artifacts.open(name)
    except CorruptArtifact:
        return None
    if artifact is None or artifact.lineage.get("step") != step:
        return None
    records: dict[str, dict[str, bytes]] = {family: {} for family in families}
    with artifact.files[RECORDS_FILE].open("rb") as file:
        for family, key, value in _frames(file):
            records[family][key] = value
    return Refolded(
        records,
        Checkpoint(positions=dict(artifact.lineage["positions"]), folded=dict(artifact.lineage["folded"])),
    )


def _frames(file: BinaryIO) -> Iterator[tuple[str, str, bytes]]:
    while head := file.read(_length.size):
        yield _decode(file.read(_length.unpack(head)[0]))
