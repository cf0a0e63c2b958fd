"""What a steward of canaries says of itself: what it has last found of each canary, and when."""

from __future__ import annotations

import msgspec

STEWARD = "canary"
"""Group under which stewards say what they find, and who they are in the log."""


class Word(msgspec.Struct, array_like=True, frozen=True):
    """What a steward has last found of one surface's canary, and when (epoch seconds)."""

    at: float
    action: str
    why: str


encode_words = msgspec.msgpack.Encoder().encode
decode_words = msgspec.msgpack.Decoder(dict[str, Word]).decode
"""By surface."""
