"""What requests bring: path ids, and bodies, capped, parsed once by pydantic's strict JSON and described in OpenAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Path, Request
from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.requests import ClientDisconnect

from schemas.fields import PRINTABLE

from .admission import REQUEST_BYTES
from .problem import Problem, field_errors, invalid, not_kept, overloaded
from .slashes import plain
from .strict_json import parse_any, require_json, require_unique_keys
from .worker import Worker

JSON = "application/json"
MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_S = 20.0  # in which a body has to arrive: who sends one drop by drop holds room that others need
REF = "#/components/schemas/{model}"
BOM = b"\xef\xbb\xbf"

PathId = Annotated[str, BeforeValidator(plain), Path(min_length=1, max_length=256, pattern=PRINTABLE)]

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request) -> bytes:
    """Return the request's body, without a byte order mark.

    Raises:
        Problem: 413 when it is larger than `MAX_BODY_BYTES`, 408 when it does not arrive, 415 when it is no JSON.
    """
    try:
        async with asyncio.timeout(BODY_S):
            return b"".join([chunk async for chunk in _chunks(request)]).removeprefix(BOM)
    except TimeoutError:
        raise _slow() from None


@asynccontextmanager
async def admitted_body(worker: Worker, request: Request) -> AsyncIterator[bytes]:
    """Give the body of a request that brings much, to a block that keeps it: it counts as waiting until the end.

    Raises:
        Problem: 429 when too much waits already, 503 when nothing can be kept now; both before anything is parsed.
    """
    refusal = worker.appender.refusal
    with worker.admission.place() as place:
        is_admitted = not refusal and place.take(REQUEST_BYTES) and place.fits(_declared_bytes(request))
        if is_admitted or "expect" not in request.headers:  # who waits for 100-continue has not sent its body
            chunks: list[bytes] = []
            try:
                async with asyncio.timeout(BODY_S):
                    async for chunk in _chunks(request):
                        is_admitted = is_admitted and place.take(len(chunk))
                        # The rest is read all the same: a connection that is closed amid a body loses the answer.
                        chunks.append(chunk) if is_admitted else chunks.clear()
            except TimeoutError:
                raise _slow() from None
        if not is_admitted:
            worker.metrics.refused.labels("not_kept" if refusal else "overloaded").inc()
            raise not_kept(refusal) if refusal else overloaded(worker.admission.wait_s())
        body = b"".join(chunks).removeprefix(BOM)
        del chunks
        yield body


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    too_large = Problem(413, "too_large", f"a body holds at most {MAX_BODY_BYTES} bytes: send smaller batches")
    if _declared_bytes(request) > MAX_BODY_BYTES:
        raise too_large
    require_json(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise too_large
            yield chunk
    except ClientDisconnect:
        raise Problem(400, "broken_body", "the body broke off or is no sequence of chunks") from None


def _slow() -> Problem:
    return Problem(408, "slow_body", f"a body has to arrive within {BODY_S:g} s: send smaller ones")


def _declared_bytes(request: Request) -> int:
    length = request.headers.get("content-length", "0")
    return int(length) if length.isdigit() else 0


def who(request: Request) -> str:
    """Return who asks: the API key, by the beginning of its SHA-256."""
    key: str | None = getattr(request.state, "key", None)
    return "api" if key is None else f"key {key[:12]}"


def parse(model: type[M], body: bytes) -> M:
    """Return the document of a JSON body.

    Raises:
        Problem: 422 naming every field that does not fit.
    """
    try:
        document = model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(field_errors(error, model)) from None
    require_unique_keys(body)
    return document


def parse_rows(body: bytes, name: str, most: int) -> list[Any]:
    """Return the rows of a batch `{name: [...]}`, each still to be validated: one bad row never fails the others.

    Raises:
        Problem: 422 when it is no such object, 413 when there are more than `most` rows.
    """
    document = parse_any(body)
    rows = document.get(name) if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(document) > 1:
        raise invalid([{"code": "invalid", "field": name, "message": f"a batch is an object with one list: {name}"}])
    check_rows(len(rows), most)
    return rows


def check_rows(rows: int, most: int) -> None:
    """Raise the 413 problem when a batch has more than `most` rows."""
    if rows > most:
        raise Problem(413, "too_many_rows", f"a batch holds at most {most} rows, not {rows}")


def takes(*models: type[BaseModel]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route whose JSON body is one of the models."""
    refs = [{"$ref": REF.format(model=m.__name__)} for m in models]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


def describe(app: FastAPI, models: list[type[BaseModel]]) -> None:
    """Add the schemas of hand-parsed bodies to the application's OpenAPI document."""
    _, definitions = models_json_schema([(m, "validation") for m in models], by_alias=False, ref_template=REF)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]
