"""Messages no fold can take, in the variety that logs bring: cut off, of other types, without ids, absurd, hostile."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from schemas.event import Event, encode_event

Document = dict[str, Any]
HUGE_BYTES = (2_000, 60_000, 1_000_000)
HUGE_SHARES = (80, 18, 2)
DEEP = 5_000  # levels


def _changed(**fields: Any) -> Callable[[random.Random, Document], bytes]:
    return lambda rng, event: json.dumps({**event, **fields}).encode()


def _without(*fields: str) -> Callable[[random.Random, Document], bytes]:
    def make(rng: random.Random, event: Document) -> bytes:
        field = rng.choice(fields)
        return json.dumps({name: value for name, value in event.items() if name != field}).encode()

    return make


def _cut(rng: random.Random, event: Document) -> bytes:
    payload = json.dumps(event).encode()
    return payload[: rng.randrange(len(payload))]


def _binary(rng: random.Random, event: Document) -> bytes:
    return b"\x93" + rng.randbytes(rng.randrange(1, 400))


def _no_utf8(rng: random.Random, event: Document) -> bytes:
    return json.dumps({**event, "user_id": "#"}).encode().replace(b'"#"', b'"\xff\xfe%d"' % rng.randrange(1000))


def _other_types(rng: random.Random, event: Document) -> bytes:
    field, value = rng.choice(
        [("timestamp", "yesterday"), ("items", {"item_id": "a"}), ("event_id", 7), ("context", ["a"]), ("user_id", {})]
    )
    return json.dumps({**event, field: value}).encode()


def _absurd_time(rng: random.Random, event: Document) -> bytes:
    field, value = rng.choice([("timestamp", -1.0), ("timestamp", 1e300), ("received_at", event["received_at"] * 1e3)])
    return json.dumps({**event, field: value}).encode()


def _huge(rng: random.Random, event: Document) -> bytes:
    size = rng.choices(HUGE_BYTES, HUGE_SHARES)[0]
    return json.dumps({**event, "items": [{"item_id": "x" * size}]}).encode()


def _deep(rng: random.Random, event: Document) -> bytes:
    nested = b"[" * DEEP + b"]" * DEEP
    return json.dumps({**event, "properties": {"a": "#"}}).encode().replace(b'"#"', nested)


KINDS: Mapping[str, Callable[[random.Random, Document], bytes]] = {
    "cut off": _cut,
    "binary": _binary,
    "not UTF-8": _no_utf8,
    "other types": _other_types,
    "fields missing": _without("event_id", "event_type", "timestamp", "received_at", "user_id"),
    "empty id": _changed(event_id=""),
    "unknown type": _changed(event_type="teleport"),
    "absurd time": _absurd_time,
    "huge": _huge,
    "nested deeply": _deep,
    "integer of 70 bits": _changed(context={"a": 2**70}),
}
"""Kind of poison -> what makes an event into it."""


def random_poison(rng: random.Random, event: Event) -> tuple[str, bytes]:
    """Return a kind of poison and a message of it, made from an event.

    >>> from replay.traffic import random_event
    >>> rng = random.Random(1)
    >>> kind, payload = random_poison(rng, random_event(rng, 1.7e9))
    >>> kind in KINDS
    True
    """
    kind = rng.choice(list(KINDS))
    return kind, KINDS[kind](rng, json.loads(encode_event(event)))
