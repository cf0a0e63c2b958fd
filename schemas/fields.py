"""Field types and parsing rules that several documents share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.alias_generators import to_camel

SCHEMA_VERSION = 1

EPOCH_MAX_S = 4_102_444_800.0  # 2100-01-01: anything later is a unit mistake, not a date
EPOCH_MS_FROM = 1e11  # numbers above this are milliseconds (as seconds they would be the year 5138)


def epoch_seconds(value: Any) -> float:
    """Return epoch seconds from RFC 3339 text, epoch seconds or epoch milliseconds.

    Raises:
        ValueError: the value is no time, is not finite, or lies outside 1970-2100.

    >>> epoch_seconds("1970-01-01T00:01:00Z"), epoch_seconds(1700000000123), epoch_seconds("12.5")
    (60.0, 1700000000.123, 12.5)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        msg = "a time is RFC 3339 text, epoch seconds or epoch milliseconds"
        raise ValueError(msg)
    try:
        seconds = _from_text(value) if isinstance(value, str) else float(value)
    except OverflowError:  # an integer beyond all floats
        seconds = math.inf
    if abs(seconds) > EPOCH_MS_FROM:
        seconds /= 1000.0
    if not (math.isfinite(seconds) and 0.0 <= seconds <= EPOCH_MAX_S):
        msg = "the time lies outside the years 1970 to 2100"
        raise ValueError(msg)
    return seconds


def _from_text(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = "a time is RFC 3339 text, epoch seconds or epoch milliseconds"
        raise ValueError(msg) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _text_id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


EpochSeconds = Annotated[
    float,
    BeforeValidator(epoch_seconds, json_schema_input_type=str | int | float),
    Field(description="RFC 3339 text, epoch seconds or epoch milliseconds; kept as epoch seconds"),
]
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[
    str,
    BeforeValidator(_text_id, json_schema_input_type=str | int),
    StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE),
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # records are msgpack, which knows no larger ones
Scalar = Annotated[str, StringConstraints(max_length=1024)] | bool | Int64 | float | None
Context = Annotated[dict[Label, Scalar], Field(max_length=32)]


_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def safe_path(loc: Iterable[int | str]) -> str:
    """Return where in a document something is, with `?` for names that are not safe to repeat to whoever sent it.

    >>> safe_path(("items", 3, "item_id")), safe_path(("<script>",))
    ('items.3.item_id', '?')
    """
    return ".".join(str(part) if _PLAIN.fullmatch(str(part)) else "?" for part in loc)


MAX_DEPTH = 16
_BITS_64 = range(-(2**63), 2**64)  # what msgpack and JSON readers hold


def _plain(document: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what JSON text can say and not every reader of it can hold: infinities (1e999), integers of more than 64
    bits, and deep nesting."""
    level: list[JsonValue] = [document]
    for _ in range(MAX_DEPTH):
        inner: list[JsonValue] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("numbers must be finite")
            elif isinstance(value, int) and value not in _BITS_64:
                raise ValueError("integers have at most 64 bits")
        if not inner:
            return document
        level = inner
    raise ValueError(f"values are nested at most {MAX_DEPTH - 1} deep")


Document = Annotated[dict[Label, JsonValue], Field(max_length=256), AfterValidator(_plain)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Edge(BaseModel):
    """A document at the HTTP edge: snake_case canonical, camelCase accepted, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        loc_by_alias=False,  # errors name the canonical field
        ser_json_inf_nan="strings",
    )


T = TypeVar("T")


def guarded(decode: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Return the decoder with one kind of error: msgspec lets two others through, which no reader would expect.

    >>> guarded(msgspec.json.decode)(b'"' + bytes([255]) + b'"')
    Traceback (most recent call last):
    msgspec.DecodeError: JSON or msgpack is malformed: a text is not UTF-8
    """

    def decoded(payload: bytes) -> T:
        try:
            return decode(payload)
        except UnicodeDecodeError:
            raise msgspec.DecodeError("JSON or msgpack is malformed: a text is not UTF-8") from None
        except RecursionError:
            raise msgspec.DecodeError("JSON or msgpack is nested too deeply") from None

    return decoded
