"""Request bodies: capped, parsed once by pydantic's strict JSON, and described in OpenAPI."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import FastAPI, Request
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from .problem import Problem, field_errors, invalid

MAX_BODY_BYTES = 4 * 1024 * 1024
REF = "#/components/schemas/{model}"

M = TypeVar("M", bound=BaseModel)


async def read_body(request: Request) -> bytes:
    """Return the request's body.

    Raises:
        Problem: 413 when it is larger than `MAX_BODY_BYTES`.
    """
    too_large = Problem(413, "too_large", f"a body holds at most {MAX_BODY_BYTES} bytes: send smaller batches")
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def parse(model: type[M], body: bytes) -> M:
    """Return the document of a JSON body.

    Raises:
        Problem: 422 naming every field that does not fit.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(field_errors(error, model)) from None


def takes(*models: type[BaseModel]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route whose JSON body is one of the models."""
    refs = [{"$ref": REF.format(model=m.__name__)} for m in models]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def describe(app: FastAPI, models: list[type[BaseModel]]) -> None:
    """Add the schemas of hand-parsed bodies to the application's OpenAPI document."""
    _, definitions = models_json_schema([(m, "validation") for m in models], ref_template=REF)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]
