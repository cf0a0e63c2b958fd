"""Local files read through one SELECT of the embedded ClickHouse engine, in a process of its own.

The engine may be open only once per process and path, and a forked child of it hangs. So a fresh interpreter runs this
file as a script: it takes one request on its standard input, streams the rows to its standard output, and ends when its
input closes, that is also when the reading process dies. A pipe between the two bounds the memory of both.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

PATTERN_CHARACTERS = frozenset("*?{}")  # `file()` expands them, and no escape turns that off
_SETTINGS = {
    "session_timezone": "UTC",
    "date_time_output_format": "iso",
    "max_threads": 2,
    "max_block_size": 8192,
    "output_format_json_quote_denormals": 1,  # NaN must reach validation instead of becoming null
    "output_format_json_skip_null_value_in_named_tuples": 1,
    "input_format_csv_use_default_on_bad_values": 1,  # one bad cell becomes null, it does not end the file
    "input_format_csv_allow_variable_number_of_columns": 1,
    "max_bytes_ratio_before_external_sort": 0,  # the absolute threshold below decides alone
}
_FAILED = 3


class BadFile(Exception):
    """A file that cannot be read as asked; the message is one line that names the file and, if known, the column.

    >>> str(BadFile("a.csv", "has no column `price`", column="price"))
    'a.csv: has no column `price`'
    """

    def __init__(self, file: str | Path, reason: str, *, column: str | None = None) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = str(file)
        self.reason = reason
        self.column = column


class ChdbFiles:
    """Reads local Parquet, CSV and NDJSON files with SELECTs; the format is told by the file's extension.

    Args:
        memory_bytes: what the engine may allocate; sorts spill to disk from a quarter of it.
    """

    def __init__(self, *, memory_bytes: int = 1 << 30) -> None:
        self._settings = _SETTINGS | {
            "max_memory_usage": memory_bytes,
            "max_bytes_before_external_sort": memory_bytes // 4,
        }

    def columns(self, file: Path) -> list[str]:
        """Return the names of the file's columns.

        Raises:
            BadFile: missing, no regular file, unreadable, or not in the format of its extension.
        """
        described = self._run("DESCRIBE TABLE file({file:String})", {"file": file}, streamed=False)
        return [row["name"] for row in described]

    def rows(self, sql: str, files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
        """Run one SELECT and yield its rows as they come; `{name:String}` in `sql` is the path of `files[name]`.

        Raises:
            BadFile: a file cannot be read, or lacks a column that `sql` names. It may come after some rows.
        """
        return self._run(sql, files, streamed=True)

    def _run(self, sql: str, files: Mapping[str, Path], *, streamed: bool) -> Iterator[dict[str, Any]]:
        for file in files.values():
            _check(file)
        request = {
            "sql": sql,
            "streamed": streamed,  # the engine streams nothing but SELECTs
            "settings": self._settings,
            "files": {name: str(file.resolve()) for name, file in files.items()},
        }
        with tempfile.TemporaryFile() as errors:
            yield from map(msgspec.json.decode, _lines(request, errors))
            errors.seek(0)
            if message := errors.read().decode(errors="replace"):
                raise _bad_file(list(files.values()) or [Path("(no file)")], message)


def _check(file: Path) -> None:
    if not file.exists():
        raise BadFile(file, "no such file")
    if not file.is_file():
        raise BadFile(file, "not a regular file")
    if not os.access(file, os.R_OK):
        raise BadFile(file, "no permission to read it")
    if PATTERN_CHARACTERS & set(str(file.resolve())):
        raise BadFile(file, "the engine takes * ? { } in a path for a pattern; rename the file or its folder")


def _lines(request: Mapping[str, Any], errors: IO[bytes]) -> Iterator[bytes]:
    """Yield the output lines of a child; what it says on its standard error is in `errors` afterwards."""
    # -P: neither this folder nor the working directory may shadow a module of the child
    command = [sys.executable, "-P", __file__]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        yield from child.stdout
        if child.wait() not in (0, _FAILED):  # killed, or it could not start
            errors.write(f"the reading process ended with exit code {child.returncode}".encode())
    finally:
        child.kill()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
        child.wait()


_UNKNOWN_COLUMN = re.compile(
    r"Unknown expression(?: or function)? identifier `(?:\w+\.)?(?P<bare>[^`]+)`"
    r"|Identifier '(?:\w+\.)?(?P<dotted>[^']+)' cannot be resolved"
)
_NOT_IN_FORMAT = re.compile(r"cannot be extracted from an? (\S+) format file|\((INCORRECT_DATA|CANNOT_PARSE\w*)\)")


def _bad_file(files: list[Path], message: str) -> BadFile:
    """Return the error of an engine message about one of `files`, the one it names, else the first.

    >>> _bad_file([Path("a.csv")], "Code: 47. DB::Exception: Unknown expression identifier `src.b`. In scope ...").args
    ('a.csv: has no column `b`',)
    """
    file = next((f for f in files if str(f.resolve()) in message), files[0])
    if unknown := _UNKNOWN_COLUMN.search(message):
        where = "" if len(files) == 1 else f" (nor have {', '.join(f.name for f in files[1:])})"
        column = unknown["bare"] or unknown["dotted"]
        return BadFile(files[0], f"has no column `{column}`{where}", column=column)
    first = " ".join(message.replace("DB::Exception: ", "").split())[:300]
    if wrong := _NOT_IN_FORMAT.search(message):
        form = wrong[1] or file.suffix.lstrip(".")
        return BadFile(file, f"cannot be read as {form}: {first}")
    return BadFile(file, first)


def _exit_with_parent() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock the interpreter's end would wait for
        pass
    os._exit(_FAILED)


def _serve() -> int:
    """Answer one request from standard input: the rows as NDJSON, or the engine's message on standard error."""
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    from chdb.session import Session  # only ever in this child

    session: Any = Session()  # type: ignore[no-untyped-call]  # chdb is only partly typed
    settings = ", ".join(f"{name} = {value!r}" for name, value in request["settings"].items())
    run = session.send_query if request["streamed"] else session.query
    try:
        session.query(f"SET {settings}")
        result = run(request["sql"], "JSONEachRow", params=request["files"])
        for chunk in result if request["streamed"] else [result]:
            sys.stdout.buffer.write(chunk.bytes())
    except RuntimeError as error:  # the session's ChdbError, which is not the exported one
        sys.stderr.write(str(error))
        return _FAILED
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(_serve())
