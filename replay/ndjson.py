"""Our own events as NDJSON, read line by line without an engine, so that an error names its line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from online.adapters.chdb_files import BadFile
from schemas.event import EventIn

_SUFFIXES = frozenset({".ndjson", ".jsonl", ".json"})
_LOOKED_AT = 100  # lines that tell the fields
_MAX_LINE_BYTES = 1 << 20


def is_ndjson(file: Path) -> bool:
    """Say whether the file's name is that of NDJSON.

    >>> is_ndjson(Path("a.ndjson")), is_ndjson(Path("a.parquet"))
    (True, False)
    """
    return file.suffix.lower() in _SUFFIXES


def raw_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers; of a line over 1 MiB, only its start.

    Raises:
        BadFile: missing or unreadable.
    """
    try:
        with file.open("rb") as handle:
            number = 0
            while line := handle.readline(_MAX_LINE_BYTES):
                number += 1
                rest = line
                while rest and not rest.endswith(b"\n"):
                    rest = handle.readline(_MAX_LINE_BYTES)
                if not line.isspace():
                    yield number, line
    except OSError as error:
        raise BadFile(file, error.strerror or str(error)) from None


def ndjson_fields(file: Path) -> list[str]:
    """Return the fields of the first lines that are JSON objects, in snake_case where they are ours.

    Raises:
        BadFile: missing or unreadable, or no line is a JSON object.
    """
    ours = {str(f.alias): name for name, f in EventIn.model_fields.items()}
    documents = list(islice(_documents(file), _LOOKED_AT))
    if not documents:
        raise BadFile(file, "holds no line that is a JSON object")
    return list(dict.fromkeys(ours.get(name, name) for document in documents for name in document))


def _documents(file: Path) -> Iterator[dict[str, msgspec.Raw]]:
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for _, line in raw_lines(file):
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            yield decoder.decode(line)
