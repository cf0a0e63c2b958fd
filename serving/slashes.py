"""Ids with slashes in paths: `%2F` is part of an id, and no border between two parts of a path."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import Scope

SLASH = "\udc2f"  # no text that comes over HTTP holds it

_ENCODED = re.compile("%2F", re.IGNORECASE)


def with_ids(scope: Scope) -> Scope:
    """Return the scope of a request, with the slashes of its ids told from those of its path.

    >>> with_ids({"path": "/v1/users/a/b:merge", "raw_path": b"/v1/users/a%2Fb:merge"})["path"] == (
    ...     f"/v1/users/a{SLASH}b:merge")
    True
    """
    raw: bytes = scope.get("raw_path") or b""
    if b"%2" not in raw or not raw.startswith(b"/v1/"):
        return scope
    parts = _ENCODED.split(raw.partition(b"?")[0].decode("latin-1"))
    return {**scope, "path": SLASH.join(map(unquote, parts))} if len(parts) > 1 else scope


def plain(path_id: str) -> str:
    """Return an id as it is.

    >>> plain(f"a{SLASH}b")
    'a/b'
    """
    return path_id.replace(SLASH, "/")
