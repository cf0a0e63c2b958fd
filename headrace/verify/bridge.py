"""`headrace verify bridge`: kill bridge, target and broker while a Kafka topic is forwarded, then count everything.

What is right follows from the topic alone: its messages, read once more at the end and mapped in this process, must
stand in the log byte for byte, each once, or among the dead letters; and the views must be the oracle's.
"""

from __future__ import annotations

import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from flows.bridge import Engine
from flows.bridge.kafka import KafkaMessage, KafkaTopic, find_topic
from flows.bridge.producer import TopicWriter, make_topic, read_topic
from flows.state import STATE_VIEW
from flows.view import committed
from headrace.bench.rig import wait_until
from headrace.process import create_topics
from headrace.settings import own_settings
from headrace.supervisor import Service, Supervisor, free_port
from headrace.system import System, environment, plan
from headrace.verify.compare import compare_state
from headrace.verify.outcome import Outcome as Compared
from headrace.verify.witness import seen_now
from online.connect import open_log, open_state
from online.core.catalogue import ITEM_DOCUMENT, ITEMS, facets, stamp
from online.core.dead_letter import DEAD, decode_dead_letter
from online.core.foreign_event import EventMapping, NotAccepted, read_foreign
from online.core.partition import EVENTS
from online.core.update import UPDATES
from online.ports import START, EventLog, StateStore, Unavailable
from replay.history import logged
from replay.traffic import random_event
from schemas.event import Event, encode_event
from schemas.item import Item, encode_item

KAFKA_PARTITIONS = 3
CATALOGUE_ITEMS = 200
POISON_SHARE = 0.005
REPEATED_SHARE = 0.02
MAPPING = EventMapping(
    fields={"event_type": "what", "user_id": "who.id", "item_id": "sku", "timestamp": "at_ms", "event_id": "id"},
    types={"pageview": "view"},
)
"""The topic's messages are another system's, so that the mapping is proven with the rest."""


@dataclass
class Outcome:
    """What a run of kills found.

    `log_*` compare the events of the log with the topic, `letters_*` the dead letters, `lost` and `doubled` what the
    views count with what they should; the records and updates are compared with the oracle. `repeated` events were put
    into Kafka twice under one id: they stand twice in the log and count once.
    """

    engine: str = ""
    kills: int = 0
    events: int = 0
    repeated: int = 0
    letters: int = 0
    log_lost: int = 0
    log_doubled: int = 0
    letters_lost: int = 0
    letters_doubled: int = 0
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
        return not (
            self.log_lost
            or self.log_doubled
            or self.letters_lost
            or self.letters_doubled
            or self.lost
            or self.doubled
            or self.records_different
            or self.updates_different
        )


def verify_bridge(
    *,
    brokers: str,
    engine: Engine,
    events: int,
    kills: int,
    seed: int,
    kill_broker: Callable[[], None] | None = None,
    progress: Callable[[int, str], None] = lambda done, name: None,
) -> Outcome:
    """Forward `events` messages of a new topic into an embedded log, killing something `kills` times.

    Args:
        brokers: of Kafka, which goes on running.
        engine: of the bridge.
        events: messages to put into the topic.
        kills: how many.
        seed: of messages, targets and moments.
        kill_broker: kills the broker (-9) and returns once it is back; without, only bridge and target are killed.
        progress: told how many kills are done, and of what the last one was.

    Raises:
        Unavailable: Kafka does not answer, or the bridge does not get to the end.
    """
    began = time.monotonic()
    rng = random.Random(seed)
    name = f"headrace-verify-{rng.getrandbits(64):016x}-{time.time_ns()}"
    make_topic(brokers, name, KAFKA_PARTITIONS)
    topic = find_topic(brokers, name, group=name)
    outcome = Outcome(engine=engine, kills=kills, seed=seed)
    with _system(topic, engine) as (system, supervisor), ExitStack() as stack:
        log, state = open_log(system.settings.log), open_state(system.settings.state)
        stack.callback(log.close)
        stack.callback(state.close)
        partitions = create_topics(log, system.settings.partitions)
        _load_catalogue(log, state)
        writer = TopicWriter(brokers, name)
        targets = ["bridge", "valkey"] + ["broker"] * (kill_broker is not None)
        for done, chunk in enumerate(_chunks(rng, events, kills)):
            writer.send(chunk)
            if done == kills:
                break
            target = rng.choice(targets)
            _wait_for_a_moment(rng, log, partitions)
            if target == "broker" and kill_broker is not None:
                kill_broker()
            else:
                supervisor.kill(target)
                supervisor.restart(target)
            outcome.killed[target] = outcome.killed.get(target, 0) + 1
            progress(done + 1, target)
        writer.flush()
        messages = read_topic(brokers, name, KAFKA_PARTITIONS)
        outcome.log_lost = writer.acknowledged - len(messages)  # whatever Kafka lost, nobody can bring
        _drain(log, state, partitions, len(messages))
        compare(outcome, messages, topic, log, state, partitions)
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


def by_command(command: str) -> Callable[[], None]:
    """Return what kills a broker by a command of the user's.

    Raises, when called:
        Unavailable: the command fails.
    """

    def kill() -> None:
        try:
            subprocess.run(shlex.split(command), check=True, stdout=subprocess.DEVNULL)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise Unavailable(f"the broker was not killed by {command!r}: {error}") from None

    return kill


@contextmanager
def _system(topic: KafkaTopic, engine: Engine) -> Iterator[tuple[System, Supervisor]]:
    """Run the embedded Valkey, the state flow and a bridge."""
    with tempfile.TemporaryDirectory(prefix="headrace-verify-") as directory:
        system = plan(own_settings(Path(directory) / "data", free_port()), flows=("state",), api=False, warehouse=False)
        bridge = Service("bridge", _argv(topic, engine), ready=lambda: True, env=environment(system.settings))
        with Supervisor((*system.services, bridge), system.settings.data_dir) as supervisor:
            yield system, supervisor


def _argv(topic: KafkaTopic, engine: Engine) -> list[str]:
    argv = [sys.executable, "-m", "headrace", "bridge", "kafka", "--brokers", topic.brokers, "--topic", topic.name]
    argv += ["--engine", engine, "--group", topic.group, "--member", "bridge"]
    for field_name, path in MAPPING.fields.items():
        argv += ["--map", f"{field_name}={path}"]
    for theirs, ours in MAPPING.types.items():
        argv += ["--type", f"{theirs}={ours}"]
    return argv


def _load_catalogue(log: EventLog, state: StateStore) -> None:
    """Load items, and wait until the bridge can look them up: what it stamps then does not depend on the moment."""
    now = time.time()
    items = [
        Item(item_id=f"item-{i}", updated_at=now, created_at=now, categories=[f"c{i % 7}"], brand=f"b{i % 5}", price=i)
        for i in range(CATALOGUE_ITEMS)
    ]
    log.append(ITEMS, [(0, encode_item(item)) for item in items])
    wait_until(lambda: state.footprint(0, ITEM_DOCUMENT)[0] == CATALOGUE_ITEMS, "the catalogue is not folded")


def _chunks(rng: random.Random, events: int, kills: int) -> Iterator[list[tuple[int, bytes]]]:
    """Yield what is put into the topic before each kill, and behind the last one: (partition, value) pairs."""
    share, before = events / (kills + 1), 0
    for number in range(1, kills + 2):
        until = round(share * number)
        yield list(_messages(rng, until - before))
        before = until


def _messages(rng: random.Random, n: int) -> Iterator[tuple[int, bytes]]:
    previous = b"{}"
    for _ in range(n):
        chance = rng.random()
        if chance < POISON_SHARE:
            value = rng.choice([b"", b"{", b'{"what": "teleport"}', b"\xff\xfe"])
        elif chance > REPEATED_SHARE + POISON_SHARE:
            value = previous = _foreign(rng, random_event(rng, time.time()))
        else:
            value = previous  # some producers send twice
        yield rng.randrange(KAFKA_PARTITIONS), value


def _foreign(rng: random.Random, event: Event) -> bytes:
    """Return an event as the other system writes it; half of its messages have an id."""
    message = {
        "what": "pageview" if event.event_type == "view" else event.event_type,
        "who": {"id": event.user_id},
        "sku": event.items[0].item_id,
        "at_ms": int(event.timestamp * 1000),
        "ip": "::1",
    }
    return msgspec.json.encode({**message, "id": event.event_id} if rng.random() < 0.5 else message)


def _wait_for_a_moment(rng: random.Random, log: EventLog, partitions: int) -> None:
    """Wait for a random moment: anywhere in a start-up, or shortly after something was forwarded."""
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0.0, 2.0))
        return
    before = _forwarded(log, partitions)
    deadline = time.monotonic() + 10.0
    while _forwarded(log, partitions) == before and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(rng.expovariate(1 / 0.05))


def _forwarded(log: EventLog, partitions: int) -> int:
    """Return how many messages have come through, -1 while the log is away."""
    try:
        return sum(log.behind(EVENTS, p, START) for p in range(partitions)) + log.behind(DEAD, 0, START)
    except Unavailable:
        return -1


def _drain(log: EventLog, state: StateStore, partitions: int, messages: int) -> None:
    """Wait until as many messages as the topic has have come through, and the view has folded them."""

    def is_folded() -> bool:
        return all(committed(state, STATE_VIEW, EVENTS, p) == log.extent(EVENTS, p).last for p in range(partitions))

    wait_until(lambda: _forwarded(log, partitions) >= messages, "the bridge does not get to the end", every_s=0.1)
    wait_until(is_folded, "the state view does not get to the end", every_s=0.1)
    time.sleep(0.5)  # a message too many would come now, and the updates of the last commit


def compare(
    outcome: Outcome,
    messages: list[KafkaMessage],
    topic: KafkaTopic,
    log: EventLog,
    state: StateStore,
    partitions: int,
) -> None:
    """Fill in by how much log, dead letters and views differ from what a topic's messages are to become."""
    documents = dict(state.scan(0, ITEM_DOCUMENT))
    events: Counter[bytes] = Counter()
    letters: Counter[tuple[int, str, bytes]] = Counter()
    ids = []
    for message in messages:
        try:
            event = read_foreign(topic.foreign(message, message.time), MAPPING)
        except NotAccepted:
            letters[message.partition, str(message.offset), message.value] += 1
            continue
        stamp(event, lambda item: facets(documents.get(item)), 0.0)
        events[encode_event(event)] += 1
        ids.append(event.event_id)
    found = Counter(m.payload for p in range(partitions) for batch in logged(log, EVENTS, p) for m in batch.messages)
    buried = Counter(_buried(m.payload) for batch in logged(log, DEAD, 0) for m in batch.messages)
    views = Compared()
    compare_state(views, seen_now(log, {EVENTS: partitions, UPDATES: 1}), state, partitions, ids)
    outcome.events, outcome.repeated, outcome.letters = len(ids), len(ids) - len(set(ids)), sum(letters.values())
    outcome.log_lost += (events - found).total()
    outcome.log_doubled += (found - events).total()
    outcome.letters_lost += (letters - buried).total()
    outcome.letters_doubled += (buried - letters).total()
    outcome.lost, outcome.doubled = views.lost, views.doubled
    outcome.records_different, outcome.updates_different = views.records_different, views.updates_different


def _buried(payload: bytes) -> tuple[int, str, bytes]:
    letter = decode_dead_letter(payload)
    return letter.partition, letter.position, letter.payload
