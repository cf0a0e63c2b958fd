"""Errors as RFC 9457 problem documents: small, without echo of the input, saying what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import get_args

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from schemas.fields import safe_path
from schemas.problem import ProblemOut as ProblemOut  # every route names it among its answers

MAX_ERRORS = 8  # with the lengths below, a problem stays under 4 kB
MAX_FIELD, MAX_MESSAGE = 120, 200
RETRY_AFTER_S = 2
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error that is answered as a problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.errors, self.headers = errors, headers


def problem_response(problem: Problem) -> Response:
    """Return the response of a problem."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "errors": problem.errors,
    }
    return Response(msgspec.json.encode(document), problem.status, media_type=MEDIA_TYPE, headers=problem.headers)


def field_errors(error: ValidationError, model: type[BaseModel]) -> list[dict[str, str]]:
    """Return what is wrong with which field; an unknown field names its nearest valid one.

    >>> from schemas.event import EventIn
    >>> try:
    ...     EventIn.model_validate({"event_type": "view", "user_id": "1", "itemid": "a"})
    ... except ValidationError as error:
    ...     field_errors(error, EventIn)[0]["message"]
    'unknown field: did you mean item_id?'
    """
    found = []
    for one in error.errors(include_url=False, include_input=False, include_context=False)[:MAX_ERRORS]:
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            near = _nearest(str(one["loc"][-1]), _model_at(model, one["loc"][:-1]))
            message = f"unknown field: did you mean {near}?" if near else "unknown field"
        found.append(_field_error(one["type"], one["loc"], message))
    return found


def _field_error(code: str, loc: Sequence[int | str], message: str) -> dict[str, str]:
    return {"code": code, "field": safe_path(loc)[:MAX_FIELD], "message": message[:MAX_MESSAGE]}


def _nearest(name: str, model: type[BaseModel]) -> str | None:
    """Return the canonical name of the field whose name or camelCase alias is nearest."""
    names = {alias: field for field, info in model.model_fields.items() for alias in (field, info.alias or field)}
    near = get_close_matches(name[:MAX_FIELD], names, n=1, cutoff=0.5)
    return names[near[0]] if near else None


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel]:
    """Return the model of the object that an error's location leads to."""
    for part in loc:
        if part in model.model_fields:
            annotation = model.model_fields[str(part)].annotation
            kinds = (annotation, *get_args(annotation))
            inner = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
            model = next(inner, model)
    return model


def invalid(errors: Sequence[Mapping[str, str]]) -> Problem:
    """Return the 422 problem of a request that does not fit its schema."""
    first = errors[0]
    detail = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return Problem(422, "invalid", detail, errors=errors)


def not_kept(error: Exception | str) -> Problem:
    """Return the 503 problem of something that could be kept nowhere."""
    return Problem(503, "not_kept", f"{error}; send it again later", headers={"Retry-After": str(RETRY_AFTER_S)})


def overloaded(wait_s: int) -> Problem:
    """Return the 429 problem of more than can be kept at this rate; `wait_s` in whole seconds."""
    detail = f"more comes in than can be kept: send it again after {wait_s} s"
    return Problem(429, "overloaded", detail, headers={"Retry-After": str(wait_s)})


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem document."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> Response:
        return problem_response(problem)

    @app.exception_handler(RequestValidationError)
    async def _parameters(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()[:MAX_ERRORS]
        return problem_response(invalid([_field_error(one["type"], one["loc"][1:], one["msg"]) for one in found]))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        detail = {404: "there is no such path; see /docs", 405: "this path does not take that method; see /docs"}
        return problem_response(
            Problem(
                error.status_code,
                HTTPStatus(error.status_code).name.lower(),
                detail.get(error.status_code, str(error.detail)),
                headers=error.headers,
            )
        )

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        return problem_response(Problem(500, "internal", "this is a defect of the server; its log names the cause"))
