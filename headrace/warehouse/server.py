"""The process of the embedded warehouse: the engine's thread behind an HTTP application on loopback."""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import json
import secrets
import signal
import socket
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from headrace.keys import DataDirError, read_keys
from headrace.warehouse.encoding import compressed, preferred
from headrace.warehouse.engine import Answer, Engine
from headrace.warehouse.errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    REQUIRED_PASSWORD,
    TOO_MANY_QUERIES,
    QueryError,
)
from headrace.warehouse.request import read_query
from headrace.warehouse.service import PORT_FILE, USER

MAX_WAITING = 64

# ClickHouse's HTTP status by error code; 500 for all others.
_STATUS = (
    dict.fromkeys((6, 25, 26, 27, 36, 38, 41, 53, 62, 72, 117, 271, 321, 374, 456), 400)
    | dict.fromkeys((45, 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336), 404)
    | {192: 403, 193: 403, 194: 401, 516: 403, 48: 501, 159: 408, 229: 413, 164: 403, 202: 503, 497: 403}
)

_BINARY = "application/octet-stream"
_MEDIA_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}


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
            return self._refusal(QueryError(BAD_ARGUMENTS, "the request ended early"), query_id)

    async def _answer(self, request: Request, query_id: str) -> Response:
        _authenticate(request, self._key)
        if self._waiting >= MAX_WAITING:
            raise QueryError(TOO_MANY_QUERIES, f"Too many simultaneous queries. Maximum: {MAX_WAITING}")
        self._waiting += 1
        try:
            query = await read_query(request)
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._thread, self._engine.run, query)
        finally:
            self._waiting -= 1
        return await _response(request, answer, query_id)

    def _refusal(self, error: QueryError, query_id: str) -> Response:
        headers = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": query_id}
        if error.code == REQUIRED_PASSWORD:
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
        raise QueryError(REQUIRED_PASSWORD, f"{USER}: Authentication failed: password is required")
    given, expected = (f"{u or USER}\0{p}".encode() for u, p in ((user, password), (USER, key)))
    if not secrets.compare_digest(given, expected):
        text = "Authentication failed: password is incorrect, or there is no user with such name."
        raise QueryError(AUTHENTICATION_FAILED, f"{text} (AUTHENTICATION_FAILED)")


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


async def _response(request: Request, answer: Answer, query_id: str) -> Response:
    counts = {name: str(count) for name, count in answer.summary.items()}
    headers = {"X-ClickHouse-Summary": json.dumps(counts), "X-ClickHouse-Query-Id": query_id}
    if answer.output_format is not None:
        headers["X-ClickHouse-Format"] = answer.output_format
    body = answer.body
    wanted = request.query_params.get("enable_http_compression", "0") not in ("0", "false")
    accepted = request.headers.get("accept-encoding", "") if wanted else ""
    encoding = preferred(accepted)
    if encoding and body:
        headers["Content-Encoding"] = encoding
        body = await asyncio.to_thread(compressed, body, encoding)
    return Response(body, headers=headers, media_type=_MEDIA_TYPES.get(answer.output_format or "", _BINARY))


def serve(directory: Path, listener: socket.socket, key: str) -> None:
    """Own the engine on `directory` and answer on the bound socket until SIGTERM or SIGINT.

    Raises:
        RuntimeError: the engine cannot open the directory.
    """
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
    options = argparse.ArgumentParser(prog="headrace.warehouse.server", description="the embedded warehouse")
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
            (given.data_dir / PORT_FILE).write_text(str(given.port), encoding="ascii")
            serve(directory, listener, key)
    except (DataDirError, OSError, OverflowError, RuntimeError) as error:
        print(f"the warehouse cannot start on 127.0.0.1:{given.port}, {directory}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
