"""The account of what was acknowledged: carried to the end, then counted in log, records and warehouse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set

from flows.record import RECORD_VIEW, decode_record_checkpoint
from flows.state import STATE_VIEW
from flows.view import committed
from headrace.bench.rig import Rig, wait_until
from headrace.verify.drain import spool_is_empty
from online.connect import open_warehouse
from online.core.partition import EVENTS, USER
from online.core.record import decode_record
from online.ports import START
from replay.history import history
from schemas.event import decode_event


def until_folded(whole: Rig) -> float:
    """Wait until the spools are empty and the state view has folded every event; return the seconds it took."""

    def is_folded() -> bool:
        if not spool_is_empty(whole.settings.data_dir / "spool"):
            return False
        positions = [committed(whole.state, STATE_VIEW, EVENTS, p) for p in range(whole.partitions)]
        return not any(whole.log.behind(EVENTS, p, position) for p, position in enumerate(positions))

    began = time.monotonic()
    wait_until(is_folded, "the state view does not fold all events", every_s=0.1)
    return time.monotonic() - began


def until_archived(whole: Rig, topics: Sequence[str] = (EVENTS,)) -> float:
    """Wait until the warehouse holds every message of topics; return the seconds it took."""

    def is_archived() -> bool:
        for partition in range(whole.partitions):
            recorded = decode_record_checkpoint(whole.state.checkpoint(RECORD_VIEW, partition)).recorded
            if any(recorded.get(topic, START) < whole.log.extent(topic, partition).last for topic in topics):
                return False
        return True

    began = time.monotonic()
    wait_until(is_archived, "the warehouse does not get everything", every_s=0.1)
    return time.monotonic() - began


def event_losses(whole: Rig, acknowledged: Set[str]) -> tuple[int, int]:
    """Return how many events were lost, acknowledged or logged, and how many count more than once."""
    lost = doubled = 0
    missing = set(acknowledged)
    warehouse = open_warehouse(whole.settings.warehouse)
    try:
        for partition in range(whole.partitions):
            until = whole.log.extent(EVENTS, partition).last
            keys: set[tuple[str, str]] = set()
            for batch in history(whole.log, warehouse, EVENTS, partition, until):
                keys.update((e.user_key, e.event_id) for e in (decode_event(m.payload) for m in batch.messages))
            missing.difference_update(event_id for _, event_id in keys)
            logged = Counter(user for user, _ in keys)
            counted = {key: sum(decode_record(r).counts.values()) for key, r in whole.state.scan(partition, USER)}
            less, more = difference(logged, counted)
            lost, doubled = lost + less, doubled + more
    finally:
        warehouse.close()
    return lost + len(missing), doubled


def slate_losses(whole: Rig, answered: Set[str]) -> tuple[int, int]:
    """Return how many slates were answered and are not in the warehouse, and how many are there more than once."""
    warehouse = open_warehouse(whole.settings.warehouse)
    try:
        rows = dict(warehouse.query("SELECT recommendation_id, count() FROM slates FINAL GROUP BY recommendation_id"))
    finally:
        warehouse.close()
    return len(answered - rows.keys()), sum(n > 1 for n in rows.values())


def difference(logged: Mapping[str, int], counted: Mapping[str, int]) -> tuple[int, int]:
    """Return by how much users' counted events fall short of the logged ones, and by how much they exceed them.

    >>> difference({"u1": 3, "u2": 1}, {"u1": 2, "u2": 3})
    (1, 2)
    """
    gaps = [logged.get(user, 0) - counted.get(user, 0) for user in logged.keys() | counted.keys()]
    return sum(gap for gap in gaps if gap > 0), -sum(gap for gap in gaps if gap < 0)
