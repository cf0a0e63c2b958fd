"""Changes of what says how the system is to behave: policies, surfaces, models; each a versioned document."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.fields import guarded


class ControlChange(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One change of a document on the log: a new version of it, none any more, or the one before again.

    `revision` counts the changes of the document from 1. One that does not follow the last is a repeat, or another
    change came first: it changes nothing.
    """

    kind: str
    id: str
    revision: int = 0
    document: dict[str, Any] | None = None  # None takes it away
    is_rollback: bool = False  # the version that was current before the present one is current again
    by: str = ""
    reason: str = ""
    at: float = 0.0  # epoch seconds


_encoder = msgspec.json.Encoder()
encode_change = _encoder.encode
decode_change = guarded(msgspec.json.Decoder(ControlChange).decode)
