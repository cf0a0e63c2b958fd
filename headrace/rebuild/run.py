"""`headrace rebuild`: fold every view anew beside the old one, compare, and swap it in with one commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from flows.record import create_tables
from flows.state import STATE_VIEW
from flows.view import Fold
from headrace.probe import require_answers, require_data_dir
from headrace.process import create_topics
from headrace.settings import Settings
from headrace.supervisor import Supervisor
from headrace.system import plan
from online.connect import open_log, open_state, open_warehouse
from online.core.catalogue import CATALOGUE_VIEW, ITEM_DOCUMENT, CatalogueFold
from online.core.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from online.core.partition import ITEM, USER, PartitionFold
from online.ports import START, EventLog, StateStore, Warehouse
from replay.history import history


@dataclass
class Rebuilt:
    """One view's partition, folded anew up to its checkpoint."""

    records: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: int = 0


def rebuild_views(settings: Settings, *, progress: Callable[[str], None]) -> dict[str, Any]:
    """Rebuild the state and catalogue views of a system whose flows are stopped; return what it found.

    Raises:
        SettingsError: there is no such data directory, or a service given by URL does not answer.
        AlreadyRunning: `headrace up` holds the data directory.
    """
    require_data_dir(settings)
    require_answers(settings)
    system = plan(settings, flows=(), api=False)
    with Supervisor(system.services, system.settings.data_dir), ExitStack() as stack:
        log, state = open_log(system.settings.log), open_state(system.settings.state)
        warehouse = open_warehouse(system.settings.warehouse)
        for port in (log, state, warehouse):
            stack.callback(port.close)
        create_tables(warehouse)
        partitions = create_topics(log, system.settings.partitions)
        return rebuild_all(log, state, warehouse, partitions, progress)


def rebuild_all(
    log: EventLog, state: StateStore, warehouse: Warehouse, partitions: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Rebuild both views over all their partitions.

    A partition of whose history something is missing, in the log and in the archive, stays as it is.
    """
    began, events, different, missing = time.monotonic(), 0, 0, 0
    for view, partition in [*((STATE_VIEW, p) for p in range(partitions)), (CATALOGUE_VIEW, 0)]:
        claim = state.claim(view, partition)  # a flow that still runs is fenced from here on
        checkpoint = decode_checkpoint(claim.checkpoint)
        rebuilt = _fold(log, warehouse, view, partition, checkpoint)
        events += rebuilt.messages
        lacking = max(0, sum(checkpoint.folded.values()) - rebuilt.messages)
        missing += lacking
        if lacking:
            progress(f"{view} {partition}: left alone, {lacking} of its messages are neither logged nor archived")
            continue
        families = (USER, ITEM) if view == STATE_VIEW else (ITEM_DOCUMENT,)
        different += sum(
            _different(rebuilt.records.get(name, {}), dict(state.scan(partition, name))) for name in families
        )
        _swap(state, view, partition, claim.generation, rebuilt, families, checkpoint)
        progress(f"{view} {partition}: {rebuilt.messages} messages")
    took = time.monotonic() - began
    return {
        "messages": events,
        "messages_missing": missing,
        "took_s": round(took, 3),
        "events_per_s": round(events / took, 1),
        "records_different": different,
        "equal": different == 0 and missing == 0,
    }


def _fold(log: EventLog, warehouse: Warehouse, view: str, partition: int, checkpoint: Checkpoint) -> Rebuilt:
    rebuilt = Rebuilt()

    def load(family: str, keys: Sequence[str]) -> list[bytes | None]:
        records = rebuilt.records.get(family, {})
        return [records.get(key) for key in keys]

    fold: Fold = PartitionFold(partition, load) if view == STATE_VIEW else CatalogueFold()
    topics = PartitionFold.topics if view == STATE_VIEW else CatalogueFold.topics
    for topic in topics:
        until = checkpoint.positions.get(topic, START)
        if until == START:
            continue
        for batch in history(log, warehouse, topic, partition, until):
            rebuilt.messages += len(batch.messages)
            for family, records in fold.fold(batch, 0).writes.items():
                kept = rebuilt.records.setdefault(family, {})
                kept.update({key: value for key, value in records.items() if value is not None})
    return rebuilt


def _different(left: dict[str, bytes], right: dict[str, bytes]) -> int:
    return sum(left.get(key) != right.get(key) for key in left.keys() | right.keys())


def _swap(
    state: StateStore,
    view: str,
    partition: int,
    generation: int,
    rebuilt: Rebuilt,
    families: Sequence[str],
    checkpoint: Checkpoint,
) -> None:
    """Put the rebuilt records in the place of the old ones. The checkpoint stays: nothing is sent again."""
    gone = {
        name: {key: None for key, _ in state.scan(partition, name) if key not in rebuilt.records.get(name, {})}
        for name in families
    }
    writes = {name: {**gone[name], **rebuilt.records.get(name, {})} for name in families}
    state.commit(view, partition, generation, writes, encode_checkpoint(checkpoint))
