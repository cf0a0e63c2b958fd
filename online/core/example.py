"""Learning examples: one slate joined with what its user did, once its window has closed."""

from __future__ import annotations

import msgspec

EXAMPLES = "examples"  # topic, one partition


class Example(msgspec.Struct, array_like=True):
    """The rows of one slate that were seen, in slot order; never-seen slots are unobserved and not in it.

    `features` are float32 (rows, len(feature_names)) as they were at choice time, little-endian in C order.
    """

    recommendation_id: str
    partition: int
    surface: str
    time: float
    model_version: str
    feature_names: list[str]
    features: bytes
    positions: list[int]  # slots counted from 1
    clicked: list[bool]


encode_example = msgspec.msgpack.Encoder().encode
decode_example = msgspec.msgpack.Decoder(Example).decode
