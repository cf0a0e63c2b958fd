"""Learning examples: one slate joined with what its user did, once its window has closed, and what came later."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

EXAMPLES = "examples"  # topic, one partition

CLICK, CART, PURCHASE = 1, 2, 4
"""Kinds of outcome; what a row led to is a sum of them."""


class Example(msgspec.Struct, array_like=True):
    """The rows of one slate that were seen, in slot order; never-seen slots are unobserved and not in it.

    `features` are float32 (rows, len(feature_names)) as they were at choice time, little-endian in C order.

    A correction names rows of an example before it that led to more after its window had closed; its `outcomes` are
    what came, without what the example said.
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
    # since version 2
    outcomes: list[int] = []  # by row; empty in examples of version 1
    device: str = ""  # as the request or the user's events name it, empty when they do not
    policy_id: str = ""
    utilities: list[float] = []  # by row, as the version that served gave them
    uniform: list[float] = []  # by row: P(drawn from the uniform part of the policy | shown in this slot)
    user: int = 0  # hash of the user key, 0 for none
    is_correction: bool = False


encode_example = msgspec.msgpack.Encoder().encode
decode_example = msgspec.msgpack.Decoder(Example).decode


def outcomes_of(example: Example) -> Sequence[int]:
    """Return what each row led to, also for an example that knows of clicks only.

    >>> outcomes_of(Example("r", 0, "home", 0.0, "", [], b"", [1, 2], [True, False]))
    [1, 0]
    """
    return example.outcomes or [CLICK if clicked else 0 for clicked in example.clicked]


def correction_of(example: Example) -> str:
    """Return the slots that a correction is about, each with the outcomes that came; empty for any other example.

    >>> correction_of(Example("r", 0, "home", 0.0, "", [], b"", [3], [True], outcomes=[4], is_correction=True))
    '3:4'
    """
    if not example.is_correction:
        return ""
    return " ".join(f"{slot}:{what}" for slot, what in zip(example.positions, example.outcomes, strict=True))


def example_id(example: Example) -> str:
    """Return what names an example: its slate, and what it corrects there.

    >>> example_id(Example("r", 0, "home", 0.0, "", [], b"", [3], [True]))
    'r'
    """
    return f"{example.recommendation_id} {correction_of(example)}".rstrip()
