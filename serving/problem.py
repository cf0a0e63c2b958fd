"""Errors as RFC 9457 problem documents: small, without echo of the input, saying what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

MAX_ERRORS = 10
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error that is answered as a problem document."""

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.extra = status, code, detail, extra


class FieldError(BaseModel):
    """What is wrong with one field."""

    code: str
    field: str
    message: str


class ProblemOut(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = []


def problem_response(problem: Problem) -> Response:
    """Return the response of a problem."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **{k: v for k, v in problem.extra.items() if k != "headers"},
    }
    return Response(
        msgspec.json.encode(document), problem.status, media_type=MEDIA_TYPE, headers=problem.extra.get("headers")
    )


def field_errors(error: ValidationError, model: type[BaseModel]) -> list[dict[str, str]]:
    """Return what is wrong with which field; an unknown field names its nearest valid one.

    >>> from schemas.event import EventIn
    >>> try:
    ...     EventIn.model_validate({"event_type": "view", "user_id": "1", "itemid": "a"})
    ... except ValidationError as error:
    ...     field_errors(error, EventIn)[0]["message"]
    'unknown field: did you mean item_id?'
    """
    names = [name for field, info in model.model_fields.items() for name in (field, info.alias or field)]
    found = []
    for one in error.errors(include_url=False, include_input=False, include_context=False)[:MAX_ERRORS]:
        field = ".".join(str(part) for part in one["loc"])[:200]
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            near = get_close_matches(str(one["loc"][-1]), names, n=1, cutoff=0.5)
            message = f"unknown field: did you mean {near[0]}?" if near else "unknown field"
        found.append({"code": one["type"], "field": field, "message": message[:300]})
    return found


def invalid(errors: Sequence[dict[str, str]]) -> Problem:
    """Return the 422 problem of a body that does not fit its schema."""
    first = errors[0]
    detail = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return Problem(422, "invalid", detail, errors=list(errors))


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem document."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> Response:
        return problem_response(problem)

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
