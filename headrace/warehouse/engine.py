"""The chDB engine: one statement in, bytes and counts out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from headrace.warehouse.errors import UNKNOWN_EXCEPTION, QueryError
from headrace.warehouse.statement import Statement, parse


class Query(NamedTuple):
    """One request to the engine."""

    text: bytes
    database: str
    default_format: str
    settings: Mapping[str, str]
    read_only: bool


class Answer(NamedTuple):
    """Bytes in the output format (None where the statement has no result) and X-ClickHouse-Summary's counts."""

    body: bytes
    output_format: str | None
    summary: Mapping[str, int]


class Engine:
    """The chDB engine on one directory. Every method must be called in the same thread."""

    def __init__(self, directory: Path) -> None:
        import chdb  # here, not above: 265 MB that only the process owning the engine may spend

        self._connect: Callable[[], Any] = partial(chdb.connect, str(directory))
        self._root = self._connect()  # keeps the engine open between requests
        self.version = self._root.query("SELECT version()", "TabSeparated").bytes().decode().strip()

    def run(self, query: Query) -> Answer:
        """Execute one statement.

        Raises:
            QueryError: the engine refused it; nothing of an insert was written.
        """
        statement = parse(query.text)
        handle = self._connect()
        try:
            for sql in _preparations(query):
                handle.query(sql, "TabSeparated")
            if statement.input_format is not None:
                return _insert(handle, statement)
            return _ask(handle, statement, query.default_format)
        except RuntimeError as error:  # what chdb raises for every error of the engine
            raise _query_error(str(error)) from error
        finally:
            handle.close()

    def close(self) -> None:
        """Close the engine, finishing what it writes in the background."""
        self._root.close()


def _preparations(query: Query) -> list[str]:
    statements = [f"USE {_quoted(query.database, '`')}"] if query.database else []
    if query.settings:
        pairs = (f"{name} = {_quoted(value, chr(39))}" for name, value in query.settings.items())
        statements.append(f"SET {', '.join(pairs)}")
    if query.read_only:
        statements.append("SET readonly = 2")
    return statements


def _ask(handle: Any, statement: Statement, default_format: str) -> Answer:
    result = handle.query(statement.sql, default_format)
    body: bytes = result.bytes() or b""
    has_result = statement.returns_rows or bool(body)
    summary = {"read_rows": result.rows_read(), "read_bytes": result.bytes_read()}
    return Answer(body, (statement.output_format or default_format) if has_result else None, summary)


def _insert(handle: Any, statement: Statement) -> Answer:
    with handle.send_insert(statement.sql.decode("utf-8", "surrogateescape"), statement.input_format) as stream:
        if statement.data:
            stream.append(statement.data)
        result = stream.finish()
    return Answer(b"", None, {"written_rows": result.rows_written, "written_bytes": result.bytes_written})


def _query_error(message: str) -> QueryError:
    found = re.search(r"Code: (\d+)\. ", message)
    if not found:
        return QueryError(UNKNOWN_EXCEPTION, message)
    text = re.sub(r"(\s*\(version [^()]*\))?\s*\Z", "", message[found.end() :])
    return QueryError(int(found[1]), text.removeprefix("DB::Exception: "))


def _quoted(text: str, quote: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return f"{quote}{escaped}{quote}"
