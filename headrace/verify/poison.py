"""`headrace verify poison`: a log with poison in it, folded by the real flows, then compared with what was put there.

The oracle folds the good events only, as they are appended: it does not share the flows' judgement of what is poison.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from headrace.process import create_topics, open_artifacts
from headrace.settings import own_settings
from headrace.supervisor import Supervisor, free_port
from headrace.system import plan
from headrace.verify.drain import Ports, stalled
from headrace.verify.oracle import Oracle
from online.connect import open_log, open_state, open_warehouse
from online.core.dead_letter import letter_id
from online.core.partition import EVENTS, USER, partition_of
from online.core.record import TYPE_CODES, decode_record
from online.dead_letters import DeadLetters, Decided
from online.ports import EventLog, Message, StateStore, Unavailable, Warehouse
from replay.poison import random_poison
from replay.refold import differing
from replay.traffic import random_event
from schemas.event import encode_event

CHUNK = 1000
PATIENCE_S = 120.0  # without any progress
REDRIVEN = 100  # letters at most, edited

_LETTERS = """
SELECT topic, partition, position, reason, base64Encode(payload) FROM dead_letters FINAL
WHERE (topic, partition, position) > ({topic:String}, {partition:UInt16}, {position:String})
ORDER BY topic, partition, position LIMIT 500
"""


@dataclass
class Outcome:
    """What a run found. `missing` and `wrong` are letters; from `missing` to `restarts` everything must be 0."""

    events: int = 0
    poison: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    dead_lettered: int = 0
    redriven: int = 0

    missing: int = 0
    wrong: int = 0  # another reason than some text, other bytes, or of a good event
    records_different: int = 0
    not_archived: int = 0  # messages of the topic events
    redriven_wrong: int = 0  # edited events that do not count exactly once
    restarts: int = 0  # of services that ended by themselves

    fold_s: float = 0.0  # from the first append until every flow had read everything
    seed: int = 0
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether nothing stalled and everything is as it should be."""
        found = (
            self.missing,
            self.wrong,
            self.records_different,
            self.not_archived,
            self.redriven_wrong,
            self.restarts,
        )
        return not any(found) and self.dead_lettered == self.poison


@dataclass(frozen=True, slots=True)
class _Ports:
    system: Ports
    warehouse: Warehouse


def verify_poison(
    *, events: int, share: float, seed: int, progress: Callable[[int], None] = lambda done: None
) -> Outcome:
    """Append `events` events, `share` of them poison, to an embedded system with all its flows, and compare.

    Raises:
        Unavailable: a flow does not get on.
    """
    began, outcome = time.monotonic(), Outcome(seed=seed)
    with _system() as (ports, supervisor):
        fed = _Feed(ports.system.log, ports.system.partitions, random.Random(seed))
        for done in range(0, events, CHUNK):
            fed.append(min(CHUNK, events - done), share)
            progress(done)
        _drain(ports)
        outcome.events, outcome.poison = fed.good, len(fed.poison)
        outcome.kinds = dict(sorted(fed.kinds.items()))
        outcome.fold_s = round(time.monotonic() - began, 1)
        outcome.records_different = sum(_different(oracle, ports.system.state) for oracle in fed.oracles)
        _compare_letters(outcome, ports, fed.poison)
        ((archived,),) = ports.warehouse.query("SELECT uniqExact(partition, position) FROM events")
        outcome.not_archived = abs(events - archived)
        _redrive(outcome, ports, list(fed.poison)[:: max(1, len(fed.poison) // REDRIVEN)][:REDRIVEN])
        outcome.restarts = sum(health.restarts for health in supervisor.health().values())
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


@contextmanager
def _system() -> Iterator[tuple[_Ports, Supervisor]]:
    with tempfile.TemporaryDirectory(prefix="headrace-verify-") as directory, ExitStack() as stack:
        system = plan(own_settings(Path(directory) / "data", free_port()), api=False)
        supervisor = stack.enter_context(Supervisor(system.services, system.settings.data_dir))
        settings = system.settings
        log, state, warehouse = open_log(settings.log), open_state(settings.state), open_warehouse(settings.warehouse)
        for port in (log, state, warehouse):
            stack.callback(port.close)
        partitions = create_topics(log, settings.partitions)
        system_ports = Ports(log, state, open_artifacts(settings), settings.data_dir / "spool", partitions)
        yield _Ports(system_ports, warehouse), supervisor


class _Feed:
    """Appends events and poison; keeps where which poison lies, and folds the good events."""

    def __init__(self, log: EventLog, partitions: int, rng: random.Random) -> None:
        self._log, self._rng = log, rng
        self.good = 0
        self.poison: dict[str, bytes] = {}  # letter id -> SHA-256 of the message
        self.kinds: Counter[str] = Counter()
        self.oracles = [Oracle(partition) for partition in range(partitions)]

    def append(self, events: int, share: float) -> None:
        now = time.time()
        messages, is_good = [], []
        for _ in range(events):
            event = random_event(self._rng, now)
            partition = partition_of(event.user_key, len(self.oracles))
            is_good.append(self._rng.random() >= share)
            if is_good[-1]:
                messages.append((partition, encode_event(event)))
            else:
                kind, payload = random_poison(self._rng, event)
                self.kinds[kind] += 1
                messages.append((partition, payload))
        kept: list[list[Message]] = [[] for _ in self.oracles]
        for (partition, payload), position, good in zip(
            messages, self._log.append(EVENTS, messages), is_good, strict=True
        ):
            if good:
                kept[partition].append(Message(position, payload))
            else:
                self.poison[letter_id(EVENTS, partition, position)] = sha256(payload).digest()
        for oracle, good_messages in zip(self.oracles, kept, strict=True):
            if good_messages:
                oracle.fold_many(good_messages)
        self.good += sum(is_good)


def _different(oracle: Oracle, state: StateStore) -> int:
    """Count the records that differ from the oracle's by a byte, or that only one of the two has."""
    found = oracle.records.items()
    return sum(differing(expected, dict(state.scan(oracle.partition, family))) for family, expected in found)


def _compare_letters(outcome: Outcome, ports: _Ports, poison: dict[str, bytes]) -> None:
    """Compare the archived letters with the poison, and what is pending with both."""
    found: set[str] = set()
    after = ("", 0, "")
    while rows := ports.warehouse.query(_LETTERS, dict(zip(("topic", "partition", "position"), after, strict=True))):
        for topic, partition, position, reason, payload in rows:
            key = letter_id(topic, partition, position)
            found.add(key)
            outcome.wrong += not reason or poison.get(key) != sha256(b64decode(payload)).digest()
        after = rows[-1][:3]
    outcome.dead_lettered, outcome.missing = len(found & poison.keys()), len(poison.keys() - found)


def _redrive(outcome: Outcome, ports: _Ports, keys: list[str]) -> None:
    """Redrive letters edited, each for a user of its own, every other one twice; each is to count once."""
    letters = DeadLetters(log=ports.system.log, state=ports.system.state)
    for number, key in enumerate(keys):
        edited = {"event_type": "click", "user_id": f"redriven-{number}", "item_id": "redriven"}
        for _ in range(1 + number % 2):
            try:
                letters.redrive(key, by="verify", edited=json.dumps(edited).encode())
            except Decided:  # the second one, once the first is carried out
                continue
        outcome.redriven += 1
    _drain(ports)
    for number in range(len(keys)):
        user = f"uredriven-{number}"
        record = ports.system.state.get(partition_of(user, ports.system.partitions), USER, user)
        outcome.redriven_wrong += record is None or decode_record(record).counts != {TYPE_CODES["click"]: 1}


def _drain(ports: _Ports) -> None:
    """Wait until every flow has read what the log holds.

    Raises:
        Unavailable: one of them gets no further.
    """
    if left := stalled(ports.system, patience_s=PATIENCE_S):
        raise Unavailable(f"stalled at {', '.join(f'{view} {topic}' for view, topic, _ in sorted(left))}")
