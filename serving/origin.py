"""Who may talk to an API that asks for no key: programs on this machine, and pages of its own or of allowed origins.

Any page that a browser on this machine shows can send requests to loopback: some as they are, since text needs no
preflight, and all of them once a name of the page's site leads to 127.0.0.1 (DNS rebinding). A browser says where a
page comes from, in `Origin`, and by which name it calls, in `Host`; without keys these two have to be right.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.types import Scope

from .problem import Problem

_LOOPBACK = re.compile(rb"(([a-z0-9-]+\.)*localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?")


def require_local(scope: Scope, allowed_origins: Collection[str]) -> None:
    """Raise the 403 problem of a request that a page of somewhere else may have sent."""
    host = origin = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.lower()
        elif name == b"origin":
            origin = value.lower()
    if host and not _LOOPBACK.fullmatch(host):
        raise Problem(403, "host", "without keys the API answers only under a name of this machine: make a key")
    if origin and origin.partition(b"://")[2] != host and origin.decode("latin-1") not in allowed_origins:
        raise Problem(403, "origin", "without keys only pages of the allowed origins may send requests: make a key")
