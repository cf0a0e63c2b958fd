"""What JSON leaves open, closed: an object names each key once (RFC 8259 lets a parser take any of them; I-JSON, RFC
7493, section 2.3, does not), and a body says in a known way that it is JSON.

Not-a-number, infinities, lone surrogates and nesting beyond 200 levels are refused by pydantic's parser.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from .problem import MAX_MESSAGE, Problem, invalid

CHARSETS = frozenset({"", "utf-8", "utf8", "us-ascii"})
_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "text/plain",  # of beacons, and of requests of pages that are to need no preflight
        "application/x-www-form-urlencoded",  # which curl says of whatever it is given
    }
)


class _Repeated:
    """Stands for an object that names a key twice: it fits no field."""


REPEATED = _Repeated()
_MESSAGE = "an object names a key twice"


def require_unique_keys(body: bytes) -> None:
    """Raise the 422 problem when an object of a JSON text, which has been parsed before, names a key twice."""
    try:
        json.loads(body, object_pairs_hook=_unique, parse_int=len, parse_float=len)  # the values do not matter
    except _RepeatedKey:
        raise invalid([{"code": "repeated_key", "field": "", "message": _MESSAGE}]) from None


def parse_any(body: bytes) -> Any:
    """Return the values of a JSON text, `REPEATED` in the place of an object that names a key twice.

    Raises:
        Problem: 422 when it is no JSON.
    """
    try:
        from_json(body, allow_inf_nan=False)  # refuses what Python's own parser lets pass
        return json.loads(body, object_pairs_hook=_marked)
    except ValueError as error:
        message = str(error)[:MAX_MESSAGE]
        raise invalid([{"code": "json_invalid", "field": "", "message": f"Invalid JSON: {message}"}]) from None


def require_json(content_type: str, content_encoding: str) -> None:
    """Raise the 415 problem of a body that says it is something else than JSON in UTF-8, as it stands."""
    if content_encoding not in ("", "identity"):
        raise Problem(415, "content_encoding", "send the body as it is, without Content-Encoding")
    if not _is_json(content_type):
        raise Problem(415, "content_type", "send JSON in UTF-8, as application/json or application/x-ndjson")


@lru_cache(maxsize=256)
def _is_json(content_type: str) -> bool:
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    name, _, charset = parameters.strip().partition("=")
    is_known = kind in _TYPES or (kind.startswith("application/") and kind.endswith("+json"))
    return is_known and (name != "charset" or charset.strip('"') in CHARSETS)


class _RepeatedKey(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedKey
    return found


def _marked(pairs: list[tuple[str, Any]]) -> Any:
    found = dict(pairs)
    return found if len(found) == len(pairs) else REPEATED
