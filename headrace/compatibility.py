"""`headrace schema --check`: what outlives the program that wrote it stays readable by older and newer programs.

`schemas/released/` holds, for each version that was released, the schemas of all messages and records; today's must be
compatible with every one of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import msgspec

from flows.record import RecordCheckpoint
from headrace.schema import TOPICS, documents
from online.core.checkpoint import Checkpoint
from online.core.open_slate import OpenSlate
from online.core.record import UserRecord
from schemas.compatibility import breaking_changes
from schemas.export import Document, rendered, struct_schema

STORED: Sequence[type[msgspec.Struct]] = (UserRecord, Checkpoint, OpenSlate, RecordCheckpoint)
"""What the state store holds, beside the log."""

ACCEPTED = {
    "DeadLetter, as of version 1: partition: minimum was None and is 0": "no partition is negative",
    "DeadLetter, as of version 1: partition: exclusiveMaximum was None and is 65536": "no log has more partitions",
}
"""Changes that no message ever written can tell from none, each with the reason."""


def lasting() -> dict[str, Document]:
    """Return the schema of every message and record by the name of its struct."""
    structs = [*(payload for topic in TOPICS for payload in topic.payloads), *STORED]
    return {struct.__name__: struct_schema(struct) for struct in structs}


def released() -> dict[str, dict[str, Document]]:
    """Return what `lasting` was at each released version."""
    paths = [path for path in files("schemas.released").iterdir() if path.name.endswith(".json")]
    return {path.name.removesuffix(".json"): json.loads(path.read_text(encoding="utf-8")) for path in paths}


def incompatibilities() -> list[str]:
    """Return one line for each change since a released version that older or newer programs could not read."""
    return [line for line in changes(released(), lasting()) if line not in ACCEPTED]


def changes(versions: Mapping[str, Mapping[str, Document]], present: Mapping[str, Document]) -> list[str]:
    """Return one line for each change between the versions and the present that is not compatible.

    >>> changes({"1": {"Old": {}}}, {})
    ['Old, as of version 1: it is gone']
    """
    found = []
    for version, structs in sorted(versions.items()):
        for name, old in structs.items():
            lines = breaking_changes(old, present[name]) if name in present else ["it is gone"]
            found += [f"{name}, as of version {version}: {line}" for line in lines]
    return found


def stale(directory: Path) -> list[str]:
    """Return the generated documents that a directory holds otherwise than the code says, or lacks."""
    return [name for name, document in documents().items() if _text(directory / name) != rendered(document)]


def write_release(path: Path) -> None:
    """Write the schemas of all messages and records as they are now, for a version that is about to be released.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(rendered(lasting()), encoding="utf-8")


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
