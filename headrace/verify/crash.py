"""`headrace verify crash`: kill processes at random points under load, then compare every view with the oracle.

The oracle folds the log once, in this process, into memory. Equal means equal bytes: records and item aggregates are
the same fold of the same log, whatever was killed in between.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flows.state import STATE_VIEW
from headrace.process import create_topics
from headrace.settings import own_settings
from headrace.supervisor import Supervisor, free_port
from headrace.system import System, plan
from online.connect import open_log, open_state
from online.core.checkpoint import Checkpoint, decode_checkpoint
from online.core.item_stats import ItemStats, encode_item_stats
from online.core.partition import EVENTS, ITEM, USER, PartitionFold, partition_of
from online.core.record import decode_record
from online.core.update import UPDATES, SessionTouch, decode_update
from online.ports import START, Batch, EventLog, Message, StateStore, Unavailable
from replay.history import logged
from replay.traffic import random_event
from schemas.event import decode_event, encode_event

EVENTS_PER_S = 2000
APPEND_EVENTS = 50
DRAIN_PATIENCE_S = 120.0
TARGETS = {"flow": "flow-state", "state": "valkey"}
"""What can be killed, and the service that is: the embedded Valkey is both log and state store."""


@dataclass
class Outcome:
    """What a run of kills found; `lost`, `doubled` and `records_different` must be 0."""

    kills: int = 0
    events: int = 0
    lost: int = 0
    doubled: int = 0
    records_different: int = 0
    updates_different: int = 0
    killed: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether nothing was lost, doubled or different."""
        return not (self.lost or self.doubled or self.records_different or self.updates_different)


class _Load(threading.Thread):
    """Appends events until it is stopped, repeating what was not acknowledged, as a client would."""

    def __init__(self, url: str, partitions: int, seed: int) -> None:
        super().__init__(name="load", daemon=True)
        self._log, self._partitions, self._rng = open_log(url, timeout_s=1.0), partitions, random.Random(seed)
        self._stop_asked = threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            began = time.monotonic()
            now = time.time()
            events = [random_event(self._rng, now) for _ in range(APPEND_EVENTS)]
            repeated = events[:1]  # some clients send twice
            messages = [(partition_of(e.user_key, self._partitions), encode_event(e)) for e in events + repeated]
            if self._is_kept(messages):
                self.acknowledged += [event.event_id for event in events]
            time.sleep(max(0.0, APPEND_EVENTS / EVENTS_PER_S - (time.monotonic() - began)))

    def _is_kept(self, messages: list[tuple[int, bytes]]) -> bool:
        while not self._stop_asked.is_set():
            try:
                self._log.append(EVENTS, messages)
            except Unavailable:
                time.sleep(0.02)
            else:
                return True
        return False

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()
        self._log.close()


def verify_crash(
    *, kills: int, targets: list[str], seed: int, progress: Callable[[int, str], None] = lambda done, name: None
) -> Outcome:
    """Run the embedded log, store and state flow under load, kill one of them `kills` times, compare the views."""
    began = time.monotonic()
    rng = random.Random(seed)
    outcome = Outcome(kills=kills, seed=seed)
    with _system() as (system, supervisor), ExitStack() as stack:
        log, state = open_log(system.settings.log), open_state(system.settings.state)
        stack.callback(log.close)
        stack.callback(state.close)
        partitions = create_topics(log, system.settings.partitions)
        load = _Load(system.settings.log, partitions, seed)
        load.start()
        stack.callback(load.stop)
        for done in range(1, kills + 1):
            target = rng.choice(targets)
            _wait_for_a_moment(rng, state, partitions)
            supervisor.kill(TARGETS[target])
            supervisor.restart(TARGETS[target])
            outcome.killed[target] = outcome.killed.get(target, 0) + 1
            progress(done, target)
        load.stop()
        _drain(log, state, partitions)
        compare(outcome, log, state, partitions, load.acknowledged)
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


@contextmanager
def _system() -> Iterator[tuple[System, Supervisor]]:
    with tempfile.TemporaryDirectory(prefix="headrace-verify-") as directory:
        system = plan(own_settings(Path(directory) / "data", free_port()), flows=("state",), api=False, warehouse=False)
        with Supervisor(system.services, system.settings.data_dir) as supervisor:
            yield system, supervisor


def _wait_for_a_moment(rng: random.Random, state: StateStore, partitions: int) -> None:
    """Wait for a random moment: anywhere in a start-up, or shortly after the next commit."""
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0.0, 2.0))
        return
    before = _commits(state, partitions)
    deadline = time.monotonic() + 10.0
    while _commits(state, partitions) == before and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(rng.expovariate(1 / 0.05))


def _checkpoints(state: StateStore, partitions: int) -> list[Checkpoint]:
    return [decode_checkpoint(state.checkpoint(STATE_VIEW, p)) for p in range(partitions)]


def _commits(state: StateStore, partitions: int) -> int:
    try:
        return sum(c.seq for c in _checkpoints(state, partitions))
    except Unavailable:
        return -1


def _drain(log: EventLog, state: StateStore, partitions: int) -> None:
    """Wait until the flow has committed everything the log holds.

    Raises:
        Unavailable: it does not get there.
    """
    deadline = time.monotonic() + DRAIN_PATIENCE_S
    while time.monotonic() < deadline:
        behind = [
            log.extent(EVENTS, p).last != checkpoint.positions.get(EVENTS, START)
            for p, checkpoint in enumerate(_checkpoints(state, partitions))
        ]
        if not any(behind):
            time.sleep(0.2)  # the updates of the last commit are sent behind it
            return
        time.sleep(0.05)
    raise Unavailable(f"the state flow did not catch up within {DRAIN_PATIENCE_S:g} s; see its log")


def compare(outcome: Outcome, log: EventLog, state: StateStore, partitions: int, acknowledged: Sequence[str]) -> None:
    """Fill in by how much the log and the views differ from what was acknowledged and from the oracle."""
    logged: set[str] = set()
    counted = 0
    touches: Counter[SessionTouch] = Counter()
    items: dict[tuple[int, str], bytes] = {}
    for partition in range(partitions):
        oracle = Oracle(partition)
        for message in _messages(log, EVENTS, partition):
            logged.add(decode_event(message.payload).event_id)
            oracle.fold(message)
        stored = {family: dict(state.scan(partition, family)) for family in (USER, ITEM)}
        outcome.records_different += sum(_different(oracle.records[f], stored[f]) for f in (USER, ITEM))
        counted += sum(sum(decode_record(value).counts.values()) for value in stored[USER].values())
        touches.update(oracle.touches)
        items.update({(partition, key): value for key, value in oracle.records[ITEM].items()})
    outcome.events = len(set(acknowledged))
    outcome.lost = len(set(acknowledged) - logged) + max(0, len(logged) - counted)
    outcome.doubled = max(0, counted - len(logged))
    outcome.updates_different = _updates_different(log, touches, items)


class Oracle:
    """The single-pass fold of one partition, one message at a time, into memory."""

    def __init__(self, partition: int) -> None:
        self.records: dict[str, dict[str, bytes]] = {USER: {}, ITEM: {}}
        self.touches: list[SessionTouch] = []
        self._partition = partition
        self._seq = 0
        self._fold = PartitionFold(partition, lambda family, keys: [self.records[family].get(key) for key in keys])

    def fold(self, message: Message) -> None:
        """Fold one message of the events topic."""
        self._seq += 1
        folded = self._fold.fold(Batch(EVENTS, self._partition, [message]), self._seq)
        for family, records in folded.writes.items():
            self.records[family].update({key: value for key, value in records.items() if value is not None})
        for topic, _, payload in folded.outbox:
            if topic == UPDATES:
                self.touches += decode_update(payload).touches


def _messages(log: EventLog, topic: str, partition: int) -> Iterator[Message]:
    return (message for batch in logged(log, topic, partition) for message in batch.messages)


def _different(left: dict[str, bytes], right: dict[str, bytes]) -> int:
    return sum(left.get(key) != right.get(key) for key in left.keys() | right.keys())


def _updates_different(log: EventLog, touches: Counter[SessionTouch], items: dict[tuple[int, str], bytes]) -> int:
    """Count what a follower of the updates topic would hold otherwise than the oracle."""
    applied: dict[int, int] = {}
    followed: dict[tuple[int, str], ItemStats] = {}
    seen: Counter[SessionTouch] = Counter()
    for message in _messages(log, UPDATES, 0):
        update = decode_update(message.payload)
        if update.seq <= applied.get(update.partition, 0):
            continue
        applied[update.partition] = update.seq
        followed.update({(update.partition, item): stats for item, stats in update.items.items()})
        seen.update(update.touches)
    encoded = {key: encode_item_stats(stats) for key, stats in followed.items()}
    wrong_items = sum(encoded.get(key) != items.get(key) for key in encoded.keys() | items.keys())
    return wrong_items + sum(((touches - seen) + (seen - touches)).values())
