"""An HTTP request, as ClickHouse clients send it, read into one query for the engine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from email import message_from_bytes

from starlette.requests import Request

from headrace.warehouse.encoding import decompressed
from headrace.warehouse.engine import Query
from headrace.warehouse.errors import NOT_IMPLEMENTED, QUERY_IS_TOO_LARGE, UNKNOWN_SETTING, QueryError

MAX_BODY_BYTES = 64 << 20  # as sent
MAX_DECODED_BYTES = 256 << 20

# Parameters of the HTTP interface itself; every other one is a setting or `param_*`.
_NOT_SETTING = re.compile(
    "query|database|default_format|user|password|quota_key|query_id|role|stacktrace|(de)?compress|buffer_size|"
    "session_(id|check|timeout)|wait_end_of_query|client_protocol_version"
)
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


async def read_query(request: Request) -> Query:
    """Return the statement with its parameters, wherever the request carries them.

    Raises:
        QueryError: the request is too large, damaged, or asks for what is not implemented.
        starlette.requests.ClientDisconnect: its sender went away.
    """
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
    too_large = QueryError(QUERY_IS_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES} bytes")
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
            raise QueryError(NOT_IMPLEMENTED, f"{name}=1 is not implemented: use Accept-/Content-Encoding")
    settings = {name: value for name, value in params.items() if not _NOT_SETTING.fullmatch(name)}
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise QueryError(UNKNOWN_SETTING, "Unknown setting: its name is not an identifier")
    return settings


def _form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """Return the fields of a form, in which clickhouse-connect sends parameters too long for a URL."""
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    for part in message.walk():
        if part.is_multipart():
            continue
        if part.get_filename() is not None:
            raise QueryError(NOT_IMPLEMENTED, "external data are not implemented")
        content = part.get_payload(decode=True)
        if isinstance(content, bytes):
            fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
    return fields
