"""What is wrong with a request or with a row of it: the answers that are errors (RFC 9457)."""

from __future__ import annotations

from pydantic import BaseModel


class FieldError(BaseModel):
    """What is wrong with one field."""

    code: str
    field: str
    message: str


class RowError(BaseModel):
    """Why one row of a batch was not accepted."""

    index: int
    code: str
    message: str
    field: str


class ProblemOut(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] = []
