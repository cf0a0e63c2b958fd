"""Compare the warehouse with the log: every message has one row, with its bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256

from headrace.verify.outcome import Outcome
from headrace.verify.witness import Seen
from online.core.catalogue import ITEMS
from online.core.control import CONTROL
from online.core.dead_letter import DEAD, VERDICTS, decode_dead_letter
from online.core.example import EXAMPLES, decode_example, example_id
from online.core.join import SLATES
from online.core.partition import EVENTS, USERS
from online.ports import Warehouse
from schemas.slate import decode_slate

Key = tuple[str, int, str]
"""What a row is known by: (topic, partition, position), or another triple with the id in its last place."""

_BY_POSITION = "SELECT topic, partition, position, hex(SHA256(payload)) FROM {table}"
_BY_ID = "SELECT '', 0, recommendation_id, hex(SHA256(payload)) FROM {table} FINAL"
_EXAMPLES = (
    "SELECT '', 0, trimRight(concat(recommendation_id, ' ', correction)), hex(SHA256(payload)) FROM outcomes FINAL"
)
_LETTERS = "SELECT topic, partition, position, hex(SHA256(payload)) FROM dead_letters FINAL"


def compare_warehouse(outcome: Outcome, seen: Seen, warehouse: Warehouse, answered: Sequence[str]) -> None:
    """Fill in which messages lack a row, have several, or have one with other bytes; likewise slates by their ids.

    A slate, an example or a dead letter may be sent twice; tables that merge such rows are read as merged.
    """
    for table, topics in (("events", (EVENTS,)), ("documents", (ITEMS, USERS, VERDICTS, CONTROL))):
        expected = {
            (topic, partition, message.position): {_digest(message.payload)}
            for (topic, partition), messages in seen.items()
            if topic in topics
            for message in messages
        }
        _compare(outcome, expected, warehouse.query(_BY_POSITION.format(table=table)))
    slates = _by_id((decode_slate(m).recommendation_id, m) for m in _payloads(seen, SLATES))
    found = warehouse.query(_BY_ID.format(table="slates"))
    _compare(outcome, slates, found)
    examples = _by_id((example_id(decode_example(m)), m) for m in _payloads(seen, EXAMPLES))
    _compare(outcome, examples, warehouse.query(_EXAMPLES))
    letters = (decode_dead_letter(m) for m in _payloads(seen, DEAD))
    dead = {(letter.topic, letter.partition, letter.position): {_digest(letter.payload)} for letter in letters}
    _compare(outcome, dead, warehouse.query(_LETTERS))
    rows = Counter(recommendation_id for _, _, recommendation_id, _ in found)
    outcome.slates = len(set(answered))
    outcome.slates_lost = sum(not rows[recommendation_id] for recommendation_id in set(answered))
    outcome.slates_doubled = sum(n > 1 for n in rows.values())


def _compare(outcome: Outcome, expected: dict[Key, set[str]], rows: Iterable[tuple[str, int, str, str]]) -> None:
    found: Counter[Key] = Counter()
    for topic, partition, position, digest in rows:
        key = (topic, partition, position)
        found[key] += 1
        outcome.warehouse_different += digest not in expected.get(key, ())
    outcome.warehouse_lost += len(expected.keys() - found.keys())
    outcome.warehouse_doubled += sum(n - 1 for n in found.values())


def _by_id(messages: Iterable[tuple[str, bytes]]) -> dict[Key, set[str]]:
    digests: dict[Key, set[str]] = {}
    for key, payload in messages:
        digests.setdefault(("", 0, key), set()).add(_digest(payload))
    return digests


def _payloads(seen: Seen, topic: str) -> Iterable[bytes]:
    return (message.payload for (t, _), messages in seen.items() if t == topic for message in messages)


def _digest(payload: bytes) -> str:
    return sha256(payload).hexdigest().upper()
