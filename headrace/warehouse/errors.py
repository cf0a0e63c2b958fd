"""Refusals of the warehouse, with ClickHouse's error codes."""

from __future__ import annotations

BAD_ARGUMENTS, NOT_IMPLEMENTED, SYNTAX_ERROR, UNKNOWN_SETTING = 36, 48, 62, 115
REQUIRED_PASSWORD, TOO_MANY_QUERIES, QUERY_IS_TOO_LARGE = 194, 202, 229
CANNOT_DECOMPRESS, AUTHENTICATION_FAILED, UNKNOWN_EXCEPTION = 271, 516, 1002


class QueryError(Exception):
    """A statement or request refused, with ClickHouse's error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
