"""The embedded warehouse: one process that owns the chDB engine and serves ClickHouse's HTTP interface.

Run as `python -m headrace.warehouse_server --data-dir D --port P --key-file F`. It answers what clickhouse-connect,
curl and ordinary tools send: `/ping`; statements in `?query=`, in the body, or split over both; `default_format`
and FORMAT clauses; `param_*`; settings as parameters; `database`; inserts in any input format; lz4, zstd, gzip and
deflate in both directions; basic, header or parameter authentication; ClickHouse's codes in its errors.

The engine is not for concurrent use: one thread runs one statement after another, the others wait in a queue.
Each request gets an engine handle of its own (0.3 ms), so its settings cannot leak into the next one. Hence there
are no sessions: `session_id` is accepted, but SET and temporary tables last for one request.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import gzip
import http.client
import json
import re
import secrets
import signal
import socket
import sys
import uuid
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lz4.frame
from backports import zstd
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from headrace.keys import DataDirError, read_keys
from headrace.supervisor import Service

USER = "default"
MAX_BODY_BYTES = 64 << 20  # as sent
MAX_DECODED_BYTES = 256 << 20
MAX_WAITING = 64

_BAD_ARGUMENTS, _NOT_IMPLEMENTED, _SYNTAX_ERROR, _UNKNOWN_SETTING = 36, 48, 62, 115
_REQUIRED_PASSWORD, _TOO_MANY_QUERIES, _QUERY_IS_TOO_LARGE = 194, 202, 229
_CANNOT_DECOMPRESS, _AUTHENTICATION_FAILED, _UNKNOWN_EXCEPTION = 271, 516, 1002

# ClickHouse's HTTP status by error code; 500 for all others.
_STATUS = (
    dict.fromkeys((6, 25, 26, 27, 36, 38, 41, 53, 62, 72, 117, 271, 321, 374, 456), 400)
    | dict.fromkeys((45, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), 404)
    | {192: 403, 193: 403, 194: 401, 516: 403, 48: 501, 159: 408, 229: 413, 164: 403, 202: 503, 497: 403}
)

# Parameters of the HTTP interface itself; every other one is a setting or `param_*`.
_NOT_SETTING = re.compile(
    "query|database|default_format|user|password|quota_key|query_id|role|stacktrace|(de)?compress|buffer_size|"
    "session_(id|check|timeout)|wait_end_of_query|client_protocol_version"
)
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_ROW_STATEMENTS = frozenset(b"SELECT WITH SHOW DESCRIBE DESC EXPLAIN EXISTS CHECK KILL VALUES FROM".split())

_TOKEN = re.compile(
    rb"""(?P<skip>\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    |(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>;)|.""",
    re.DOTALL | re.VERBOSE,
)


class QueryError(Exception):
    """A statement or request refused, with ClickHouse's error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Statement(NamedTuple):
    """One statement; for an insert with data, what precedes the data, their format, and the data."""

    sql: bytes
    output_format: str | None
    returns_rows: bool
    input_format: str | None = None
    data: bytes = b""


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


def parse(text: bytes) -> Statement:
    r"""Split a request into statement and inserted data, as ClickHouse's parser does.

    >>> parse(b"INSERT INTO t (a) FORMAT CSV\n1\n2\n")[0::3]
    (b'INSERT INTO t (a) ', 'CSV')
    >>> parse(b"SELECT 1 FORMAT JSON;").output_format
    'JSON'

    Raises:
        QueryError: there is no statement, or more than one.
    """
    depth = ended = 0
    words: list[bytes] = []  # tokens outside parentheses, words in capitals, all others empty
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "skip":
            continue
        if ended:
            raise QueryError(_SYNTAX_ERROR, "Syntax error: multi-statements are not allowed")
        depth += (kind == "open") - (kind == "close")
        ended = kind == "end" and depth <= 0
        if ended or depth > (kind == "open") or kind == "close":
            continue
        word = token[0].upper() if kind == "word" else b""
        words.append(word)
        if words[0] != b"INSERT" or len(words) < 3:
            continue
        if word == b"VALUES":
            return Statement(text[: token.start()], None, False, "Values", text[token.end() :])
        if len(words) > 3 and words[-2] == b"FORMAT" and word:
            return _insert_with_data(text, token)
        if word in (b"SELECT", b"WITH", b"FROM", b"WATCH"):
            return Statement(text, None, False)
    if not words:
        raise QueryError(_SYNTAX_ERROR, "Syntax error: Empty query")
    return Statement(text, _last_format(text, words), words[0] in _ROW_STATEMENTS or words[0] == b"")


def _insert_with_data(text: bytes, name: re.Match[bytes]) -> Statement:
    head = re.sub(rb"(?i)FORMAT\s+\Z", b"", text[: name.start()])
    gap = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?").match(text, name.end())
    return Statement(head, None, False, name[0].decode(), text[gap.end() if gap else name.end() :])


def _last_format(text: bytes, words: list[bytes]) -> str | None:
    if words[-2:-1] != [b"FORMAT"]:
        return None
    found = re.findall(rb"(?i)\bFORMAT\s+(\w+)", text)
    return found[-1].decode() if found else None


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
        return QueryError(_UNKNOWN_EXCEPTION, message)
    text = re.sub(r"(\s*\(version [^()]*\))?\s*\Z", "", message[found.end() :])
    return QueryError(int(found[1]), text.removeprefix("DB::Exception: "))


def _quoted(text: str, quote: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return f"{quote}{escaped}{quote}"


class _Frontend:
    """ClickHouse's HTTP interface over the engine's thread."""

    def __init__(self, engine: Engine, thread: ThreadPoolExecutor, key: str) -> None:
        self._engine = engine
        self._thread = thread
        self._key = key
        self._waiting = 0

    async def ping(self, _request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def query(self, request: Request) -> Response:
        if request.method != "POST" and "query" not in request.query_params:
            return PlainTextResponse("Ok.\n")  # what ClickHouse answers to a look at its root
        query_id = request.query_params.get("query_id") or str(uuid.uuid4())
        try:
            return await self._answer(request, query_id)
        except QueryError as error:
            return self._refusal(error, query_id)
        except ClientDisconnect:
            return self._refusal(QueryError(_BAD_ARGUMENTS, "the request ended early"), query_id)

    async def _answer(self, request: Request, query_id: str) -> Response:
        _authenticate(request, self._key)
        if self._waiting >= MAX_WAITING:
            raise QueryError(_TOO_MANY_QUERIES, f"Too many simultaneous queries. Maximum: {MAX_WAITING}")
        self._waiting += 1
        try:
            query = await _read_query(request)
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._thread, self._engine.run, query)
        finally:
            self._waiting -= 1
        return await _response(request, answer, query_id)

    def _refusal(self, error: QueryError, query_id: str) -> Response:
        headers = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": query_id}
        if error.code == _REQUIRED_PASSWORD:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        text = f"Code: {error.code}. DB::Exception: {error} (version {self._engine.version})\n"
        return PlainTextResponse(text, _STATUS.get(error.code, 500), headers)


def create_app(engine: Engine, thread: ThreadPoolExecutor, key: str) -> Starlette:
    """Return the ASGI application; `thread` has one worker, the one that opened the engine."""
    frontend = _Frontend(engine, thread, key)
    return Starlette(
        routes=[Route("/ping", frontend.ping), Route("/", frontend.query, methods=["GET", "POST"])],
    )


def _authenticate(request: Request, key: str) -> None:
    user, password = _credentials(request)
    if user is None and password is None:
        raise QueryError(_REQUIRED_PASSWORD, f"{USER}: Authentication failed: password is required")
    given, expected = (f"{u or USER}\0{p}".encode() for u, p in ((user, password), (USER, key)))
    if not secrets.compare_digest(given, expected):
        text = "Authentication failed: password is incorrect, or there is no user with such name."
        raise QueryError(_AUTHENTICATION_FAILED, f"{text} (AUTHENTICATION_FAILED)")


def _credentials(request: Request) -> tuple[str | None, str | None]:
    headers, params = request.headers, request.query_params
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user"), headers.get("x-clickhouse-key")
    return params.get("user"), params.get("password")


async def _read_query(request: Request) -> Query:
    body = await _read_body(request)
    encoding = request.headers.get("content-encoding", "")
    decoded = await asyncio.to_thread(decompressed, body, encoding, MAX_DECODED_BYTES)
    params = dict(request.query_params)
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        params |= _form_fields(content_type, decoded)
        decoded = b""
    parts = [part for part in (params.get("query", "").encode(), decoded) if part]
    return Query(
        text=b"\n".join(parts),
        database=params.get("database", request.headers.get("x-clickhouse-database", "")),
        default_format=params.get("default_format", request.headers.get("x-clickhouse-format", "TabSeparated")),
        settings=_settings(params),
        read_only=request.method != "POST",
    )


async def _read_body(request: Request) -> bytes:
    too_large = QueryError(_QUERY_IS_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def _settings(params: Mapping[str, str]) -> dict[str, str]:
    for name in ("compress", "decompress"):
        if params.get(name, "0") not in ("0", "false"):
            raise QueryError(_NOT_IMPLEMENTED, f"{name}=1 is not implemented: use Accept-/Content-Encoding")
    settings = {name: value for name, value in params.items() if not _NOT_SETTING.fullmatch(name)}
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise QueryError(_UNKNOWN_SETTING, "Unknown setting: its name is not an identifier")
    return settings


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form, in which clickhouse-connect sends parameters too long for a URL."""
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in message.walk():
        if part.is_multipart():
            continue
        if part.get_filename() is not None:
            raise QueryError(_NOT_IMPLEMENTED, "external data are not implemented")
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
    return fields


async def _response(request: Request, answer: Answer, query_id: str) -> Response:
    counts = {name: str(count) for name, count in answer.summary.items()}
    headers = {"X-ClickHouse-Summary": json.dumps(counts), "X-ClickHouse-Query-Id": query_id}
    if answer.output_format is not None:
        headers["X-ClickHouse-Format"] = answer.output_format
    body = answer.body
    wanted = request.query_params.get("enable_http_compression", "0") not in ("0", "false")
    accepted = request.headers.get("accept-encoding", "") if wanted else ""
    for encoding, compress in _COMPRESSORS.items():
        if encoding in accepted and body:
            headers["Content-Encoding"] = encoding
            body = await asyncio.to_thread(compress, body)
            break
    return Response(body, headers=headers, media_type=_MEDIA_TYPES.get(answer.output_format or "", _BINARY))


_BINARY = "application/octet-stream"
_MEDIA_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {  # in ClickHouse's order of preference
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": partial(gzip.compress, compresslevel=3),
    "deflate": partial(zlib.compress, level=3),
}
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": partial(zlib.decompressobj, wbits=31),
    "deflate": zlib.decompressobj,
}


def decompressed(data: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its Content-Encoding; clickhouse-connect sends each block as a frame of its own.

    >>> decompressed(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", 10)
    b'ab'

    Raises:
        QueryError: the encoding is unknown, the data are damaged, or they are more than `limit` bytes.
    """
    if encoding in ("", "identity"):
        return data
    if encoding not in _DECOMPRESSORS:
        raise QueryError(_NOT_IMPLEMENTED, "this Content-Encoding is not implemented: use lz4, zstd or gzip")
    out = bytearray()
    while data:
        frame = _DECOMPRESSORS[encoding]()
        try:
            out += frame.decompress(data, limit + 1 - len(out))
        except (RuntimeError, zstd.ZstdError, zlib.error) as error:
            raise QueryError(_CANNOT_DECOMPRESS, f"Cannot decompress: {error}") from error
        if len(out) > limit:
            raise QueryError(_QUERY_IS_TOO_LARGE, f"the decompressed body is larger than {limit} bytes")
        if not frame.eof:
            raise QueryError(_CANNOT_DECOMPRESS, "Cannot decompress: the data end early")
        data = frame.unused_data
    return bytes(out)


def url(port: int, key: str) -> str:
    """Return the URL that `online.connect` opens.

    >>> url(8123, "key")
    'http://default:key@127.0.0.1:8123/default'
    """
    return f"http://{USER}:{key}@127.0.0.1:{port}/default"


def is_ready(port: int, key: str) -> bool:
    """Return whether this server, and no other program on its port, answers a statement."""
    headers = {"X-ClickHouse-User": USER, "X-ClickHouse-Key": key}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("POST", "/", b"SELECT 1", headers)
        return connection.getresponse().read() == b"1\n"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def service(data_dir: Path, port: int, key_file: Path) -> Service:
    """Return the service that serves `<data>/warehouse` on a loopback port, asking for the key in the file.

    Raises:
        DataDirError: there is no such key.
    """
    key = read_keys(key_file).warehouse
    options = ["--data-dir", str(data_dir), "--port", str(port), "--key-file", str(key_file)]
    return Service(
        name="warehouse",
        argv=[sys.executable, "-m", "headrace.warehouse_server", *options],
        ready=partial(is_ready, port, key),
        ready_timeout_s=60.0,
        grace_s=10.0,
    )


def serve(directory: Path, listener: socket.socket, key: str) -> None:
    """Own the engine on `directory` and answer on the bound socket until SIGTERM or SIGINT.

    Raises:
        RuntimeError: the engine cannot open the directory.
    """
    import uvicorn

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine") as thread:
        engine = thread.submit(Engine, directory).result()
        try:
            app = create_app(engine, thread, key)
            config = uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5
            )
            for ending in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again once it has stopped
                signal.signal(ending, lambda _signal, _frame: None)
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            thread.submit(engine.close).result()


def main() -> int:
    """Run the server; a port in use, an unusable directory or key file ends it with one line on stderr."""
    options = argparse.ArgumentParser(prog="headrace.warehouse_server", description="the embedded warehouse")
    options.add_argument("--data-dir", type=Path, required=True)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--key-file", type=Path, required=True)
    given = options.parse_args()
    directory = (given.data_dir / "warehouse").absolute()
    try:
        key = read_keys(given.key_file).warehouse
        if "?" in str(directory):  # chdb reads options behind it
            raise DataDirError(f"the data directory {directory} must not contain '?'")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # asyncio switches Nagle's delay (40 ms) off only where the protocol is named, not left to be 0
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", given.port))
            serve(directory, listener, key)
    except (DataDirError, OSError, OverflowError, RuntimeError) as error:
        print(f"the warehouse cannot start on 127.0.0.1:{given.port}, {directory}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
