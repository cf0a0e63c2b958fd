"""Mapping files: the shapes of recorded data, each one SELECT that the embedded engine runs, no code per data set.

A mapping is `mappings/NAME.sql`: a comment header (`title`, `columns`, optional `aliases`, `sibling NAME: FILE`)
and one SELECT from `{file:String}` whose columns are fields of `EventIn`, ordered by time, `event_id` derived from
the data so that replaying a file twice equals replaying it once. `mappings/NAME.items.sql` gives the catalogue, if any.
A mapping asks for `_row_number`, and hands it on as `_row` counted from 1, so that a bad row can be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from online.adapters.chdb_files import BadFile
from replay.ndjson import is_ndjson, ndjson_fields

OWN = "events"
AUTO = "auto"
MAPPINGS = Path(__file__).parent / "mappings"


class FileReader(Protocol):
    """Runs SELECTs over local files; `online.adapters.chdb_files.ChdbFiles` is one."""

    def columns(self, file: Path) -> list[str]:
        """Return the file's column names, or raise `BadFile`."""
        ...

    def rows(self, sql: str, files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
        """Yield the rows of one SELECT in which `{name:String}` is the path `files[name]`, or raise `BadFile`."""
        ...


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT and the files next to the events' file that it reads (parameter name -> file name)."""

    sql: str
    siblings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EventMapping:
    """How the rows of one kind of file become events, and its catalogue items if it has any."""

    name: str
    title: str
    columns: tuple[str, ...]
    aliases: tuple[str, ...]
    events: Select
    items: Select | None


_HEADER = re.compile(r"-- (title|columns|aliases|sibling (\w+)): (.+)")


def _select(path: Path) -> tuple[Select, dict[str, str]]:
    sql = path.read_text(encoding="utf-8")
    found = [match.groups() for match in map(_HEADER.match, sql.splitlines()) if match]
    siblings = {name: value.strip() for _, name, value in found if name}
    return Select(sql, siblings), {key: value.strip() for key, name, value in found if not name}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


@cache
def mappings() -> Mapping[str, EventMapping]:
    """Return the mappings by name.

    >>> sorted(mappings())
    ['completejourney', 'events', 'movielens', 'online_retail', 'rsc15', 'trivago', 'yoochoose']
    >>> mappings()["yoochoose"].columns
    ('session', 'pos', 'item')
    """
    found = {}
    for path in sorted(MAPPINGS.glob("*.sql")):
        if path.name.endswith(".items.sql"):
            continue
        name = path.stem
        events, header = _select(path)
        items = MAPPINGS / f"{name}.items.sql"
        found[name] = EventMapping(
            name=name,
            title=header["title"],
            columns=_words(header["columns"]),
            aliases=_words(header.get("aliases", "")),
            events=events,
            items=_select(items)[0] if items.exists() else None,
        )
    return found


def mapping_named(name: str) -> EventMapping:
    """Return the mapping of that name or alias.

    Raises:
        KeyError: there is none; the message lists the names.

    >>> mapping_named("serenade").name
    'rsc15'
    """
    for mapping in mappings().values():
        if name == mapping.name or name in mapping.aliases:
            return mapping
    msg = f"no format {name!r}; there are {AUTO}, {', '.join(mappings())}"
    raise KeyError(msg)


def detect(columns: Iterable[str]) -> EventMapping | None:
    """Return the mapping that asks most of these columns and misses none, or None.

    >>> detect(["item", "pos", "session", "extra"]).name
    'yoochoose'
    >>> detect(["a"])
    """
    there = set(columns)
    fitting = [mapping for mapping in mappings().values() if there.issuperset(mapping.columns)]
    return max(fitting, key=lambda mapping: len(mapping.columns), default=None)


def find_mapping(file: Path, reader: FileReader, name: str = AUTO) -> EventMapping:
    """Return the mapping of that name, or the one that fits the file's columns.

    Raises:
        BadFile: the file cannot be read, lacks columns of the named mapping, or none fits.
        KeyError: there is no mapping of that name.
    """
    named = None if name == AUTO else mapping_named(name)
    if named and named.name == OWN and is_ndjson(file):
        return named  # every line is judged by itself
    columns = ndjson_fields(file) if is_ndjson(file) else reader.columns(file)
    if named is None:
        return _detected(file, columns)
    if missing := [column for column in named.columns if column not in columns]:
        reason = f"is no {named.title}: it lacks {', '.join(missing)}; it has {_some(columns)}"
        raise BadFile(file, reason, column=missing[0])
    return named


def _detected(file: Path, columns: Iterable[str]) -> EventMapping:
    mapping = detect(columns)
    if mapping is None:
        shapes = "; ".join(f"{m.name} ({_some(m.columns)})" for m in mappings().values())
        raise BadFile(file, f"no format has its columns {_some(columns)}; known are {shapes}")
    return mapping


def _some(columns: Iterable[str]) -> str:
    names = list(columns)
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
