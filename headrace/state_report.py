"""`headrace state`: what the views hold and how far behind the log they are."""

from __future__ import annotations

from typing import Any

from flows.record import RECORD_VIEW, decode_record_checkpoint
from flows.state import STATE_VIEW
from flows.view import committed
from headrace.process import create_topics
from headrace.settings import Settings
from headrace.system import FLOWS
from online.connect import open_log, open_state
from online.core.catalogue import CATALOGUE_VIEW, ITEM_DOCUMENT, ITEMS
from online.core.checkpoint import Checkpoint, decode_checkpoint
from online.core.control import CONTROL, CONTROL_ENTRY, CONTROL_VIEW
from online.core.dead_letter import DEAD
from online.core.join import JOIN_VIEW, OPEN_SLATE
from online.core.letters import LETTER, LETTER_BYTES
from online.core.partition import EVENTS, ITEM, USER
from online.ports import START, EventLog, StateStore, Unavailable

FAMILIES = (USER, ITEM, ITEM_DOCUMENT, OPEN_SLATE, LETTER, LETTER_BYTES, CONTROL_ENTRY)
EVENT_VIEWS = (STATE_VIEW, JOIN_VIEW)


def report(settings: Settings) -> dict[str, Any]:
    """Return records and bytes by family, and by view how many messages it has still to fold.

    Raises:
        Unavailable: the log or the store does not answer.
    """
    log, state = open_log(settings.log), open_state(settings.state)
    try:
        partitions = create_topics(log, settings.partitions)
        return {
            "partitions": partitions,
            "families": {name: _footprint(state, name, partitions) for name in FAMILIES},
            "robot_events": sum(_checkpoint(state, p).robot_events for p in range(partitions)),
            "events": sum(_folded(state, p) + _behind(log, state, STATE_VIEW, EVENTS, p) for p in range(partitions)),
            "dead_letters": log.behind(DEAD, 0, START),
            "lag": {view: _lag(log, state, view, partitions) for view in EVENT_VIEWS}
            | {
                CATALOGUE_VIEW: _behind(log, state, CATALOGUE_VIEW, ITEMS, 0),
                CONTROL_VIEW: _behind(log, state, CONTROL_VIEW, CONTROL, 0),
            },
            "recorded": _recorded(state, partitions),
            "flows": {name: _kept(state, name) for name in FLOWS},
        }
    except Unavailable as error:
        raise Unavailable(f"log or state store do not answer ({error}): is 'headrace up' running?") from error
    finally:
        log.close()
        state.close()


def _footprint(state: StateStore, family: str, partitions: int) -> dict[str, int]:
    records, size = (sum(c) for c in zip(*(state.footprint(p, family) for p in range(partitions)), strict=True))
    return {"records": records, "bytes": size, "bytes_per_record": round(size / records) if records else 0}


def _lag(log: EventLog, state: StateStore, view: str, partitions: int) -> list[int]:
    return [_behind(log, state, view, EVENTS, p) for p in range(partitions)]


def _folded(state: StateStore, partition: int) -> int:
    return _checkpoint(state, partition).folded.get(EVENTS, 0)


def _checkpoint(state: StateStore, partition: int) -> Checkpoint:
    return decode_checkpoint(state.checkpoint(STATE_VIEW, partition))


def _behind(log: EventLog, state: StateStore, view: str, topic: str, partition: int) -> int:
    return log.behind(topic, partition, committed(state, view, topic, partition))


def _kept(state: StateStore, flow: str) -> dict[str, list[int]]:
    """Return the partitions that each living process of a flow keeps."""
    return {member: sorted(held) for member, held in sorted(state.roster(flow).items())}


def _recorded(state: StateStore, partitions: int) -> dict[str, str]:
    """Return the oldest recorded position of each topic over its partitions."""
    positions: dict[str, str] = {}
    for partition in range(partitions):
        for topic, position in decode_record_checkpoint(state.checkpoint(RECORD_VIEW, partition)).recorded.items():
            positions[topic] = min(position, positions.get(topic, position))
    return positions
