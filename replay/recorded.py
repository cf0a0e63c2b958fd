"""Recorded events from files: our own NDJSON and Parquet, and other shapes through their mapping."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from online.adapters.chdb_files import BadFile
from replay.mapping import OWN, EventMapping, FileReader, Select, find_mapping
from replay.ndjson import is_ndjson, raw_lines
from schemas.event import EventIn
from schemas.item import ItemIn

_ROW = "_row"  # output column of a mapping: the row of the file, counted from 1


class Recorded(NamedTuple):
    """One recorded event and the row (or line) of its file, counted from 1."""

    row: int
    event: EventIn


class BadRow(NamedTuple):
    """A row that is no valid event or item: where it stands, the field at fault and why."""

    file: str
    row: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.row}: {self.field}: {self.reason}"


@dataclass(slots=True)
class BadRows:
    """Counts bad rows and keeps the first few: pass it as `on_bad`."""

    keep: int = 10
    count: int = 0
    first: list[BadRow] = field(default_factory=list)

    def __call__(self, bad: BadRow) -> None:
        self.count += 1
        if len(self.first) < self.keep:
            self.first.append(bad)


def read_events(
    file: Path,
    *,
    reader: FileReader,
    on_bad: Callable[[BadRow], None],
    mapping: EventMapping | None = None,
    start_at: float | None = None,
    limit: int | None = None,
    keep: Callable[[EventIn], bool] | None = None,
) -> Iterator[Recorded]:
    """Yield the valid events of a file in the file's time order (our own NDJSON: in the order of its lines).

    Args:
        reader: runs the mapping's SELECT.
        on_bad: called with every row that is no valid event; reading goes on behind it.
        mapping: default: the one that fits the file's columns.
        start_at: epoch seconds; all times move by one distance so that the first event yielded is at it.
        limit: yield no more than so many events.
        keep: yield only the events it is true of.

    Raises:
        BadFile: the file cannot be read or fits no mapping; from the engine it may come after some events.
    """
    mapping = mapping or find_mapping(file, reader)
    shift: float | None = None if start_at is not None else 0.0
    yielded = 0
    for row, event in _valid_events(file, reader, mapping, on_bad):
        if limit is not None and yielded >= limit:
            return
        if keep is not None and not keep(event):
            continue
        at = event.timestamp
        assert at is not None
        if shift is None:
            assert start_at is not None
            shift = start_at - at
        yielded += 1
        yield Recorded(row, event.model_copy(update={"timestamp": at + shift}) if shift else event)


def read_items(
    file: Path,
    *,
    reader: FileReader,
    on_bad: Callable[[BadRow], None],
    mapping: EventMapping | None = None,
) -> Iterator[ItemIn]:
    """Yield the catalogue items that come with a file of events: none if its mapping knows none.

    Raises:
        BadFile: the file or a sibling of it cannot be read.
    """
    mapping = mapping or find_mapping(file, reader)
    if mapping.items is None:
        return
    for number, row in enumerate(_rows(file, reader, mapping.items), start=1):
        row.pop(_ROW, None)
        try:
            yield ItemIn.model_validate(_present(row))
        except ValidationError as error:
            on_bad(_bad_row(file, number, error))


def _valid_events(
    file: Path, reader: FileReader, mapping: EventMapping, on_bad: Callable[[BadRow], None]
) -> Iterator[Recorded]:
    own_lines = mapping.name == OWN and is_ndjson(file)
    raw = raw_lines(file) if own_lines else _raw_rows(file, reader, mapping)
    for row, document in raw:
        try:
            event = _validated(row, document)
        except ValidationError as error:
            on_bad(_bad_row(file, row, error))
            continue
        if event.timestamp is None:
            on_bad(BadRow(str(file), row, "timestamp", "a recorded event needs its time"))
            continue
        yield Recorded(row, event)


def _validated(row: int, document: bytes | dict[str, Any]) -> EventIn:
    if isinstance(document, bytes):
        event = EventIn.model_validate_json(document)
    else:
        event = EventIn.model_validate(_present(document))
    if event.event_id is not None:
        return event
    content = document if isinstance(document, bytes) else msgspec.json.encode(document, order="sorted")
    return event.model_copy(update={"event_id": derived_id(row, content)})


def derived_id(row: int, content: bytes) -> str:
    """Return the id of an event recorded without one: the same for the same content in the same row.

    >>> derived_id(1, b"{}") == derived_id(1, b"{}"), derived_id(1, b"{}") == derived_id(2, b"{}")
    (True, False)
    """
    return blake2b(b"%d\n" % row + content.strip(), digest_size=16).hexdigest()


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _rows(file: Path, reader: FileReader, select: Select) -> Iterator[dict[str, Any]]:
    siblings = {name: file.parent / sibling for name, sibling in select.siblings.items()}
    return reader.rows(select.sql, {"file": file, **siblings})


def _raw_rows(file: Path, reader: FileReader, mapping: EventMapping) -> Iterator[tuple[int, dict[str, Any]]]:
    checked = mapping.name != OWN
    for row in _rows(file, reader, mapping.events):
        number = row.pop(_ROW)
        if not checked:
            _check_fields(file, row)
            checked = True
        yield number, row


def _check_fields(file: Path, columns: Iterable[str]) -> None:
    """Refuse a column that is no field of an event: it would make every single row bad."""
    known = set(EventIn.model_fields) | {str(f.alias) for f in EventIn.model_fields.values()}
    for column in columns:
        if column not in known:
            near = difflib.get_close_matches(column, sorted(EventIn.model_fields), n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise BadFile(file, f"column `{column}` is no field of an event{hint}", column=column)


def _bad_row(file: Path, row: int, error: ValidationError) -> BadRow:
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    where = ".".join(map(str, first["loc"])) or "event"
    more = f" (and {len(others)} more)" if others else ""
    return BadRow(str(file), row, where, first["msg"].removeprefix("Value error, ") + more)
