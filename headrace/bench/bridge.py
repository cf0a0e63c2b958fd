"""`headrace bench bridge`: how fast each engine brings a Kafka topic into the embedded log, and at what cost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, get_args

import msgspec

from flows.bridge import Engine
from flows.bridge.producer import TopicWriter, make_topic
from headrace.bench.measure import group_cpu_s, headed, median, spread
from headrace.bench.rig import Rig, rig, wait_until
from headrace.bench.stream import Stream, load_catalogue
from headrace.system import environment
from online.core.partition import EVENTS
from online.ports import START
from schemas.event import Event

METHOD = (
    "A topic of n messages with {partitions} partitions is there before. For each repeat a new process, as a group of"
    " its own, forwards all of it into the embedded Valkey (appendfsync always), validated, mapped and stamped from a"
    " catalogue; engines take turns. From the first message in the log to the last: events per second, and CPU of the"
    " bridge's processes (user and system) per event; start-up is not in it. Valkey and Kafka run on the same cores."
)
KAFKA_PARTITIONS = 3
ENGINES: tuple[Engine, ...] = get_args(Engine)


class _Pass(NamedTuple):
    """One pass over the topic."""

    events_per_s: float
    cpu_us: float | None
    start_s: float  # from the start of the process to the first message in the log


def bridge(
    *,
    brokers: str,
    events: int = 100_000,
    repeats: int = 3,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure both engines.

    Args:
        brokers: of Kafka.
        events: messages of the topic.
        repeats: passes over it by each engine.
        seed: of the messages.
        progress: told what is going on.

    Raises:
        Unavailable: Kafka does not answer, or a bridge does not get to the end.
    """
    topic = f"headrace-bench-{time.time_ns()}"
    stream = Stream(users=5000, items=10_000, seed=seed)
    progress(f"{events} messages into {topic}")
    make_topic(brokers, topic, KAFKA_PARTITIONS)
    writer = TopicWriter(brokers, topic)
    writer.send((number % KAFKA_PARTITIONS, _foreign(event)) for number, event in enumerate(stream.events(events)))
    writer.flush()
    passes: dict[Engine, list[_Pass]] = {engine: [] for engine in ENGINES}
    with rig(flows=("state",)) as own:
        load_catalogue(own.log, stream, time.time())
        own.until_catalogued()
        for number in range(repeats):
            for engine in ENGINES if number % 2 == 0 else ENGINES[::-1]:
                progress(f"{engine}, repeat {number + 1} of {repeats}")
                passes[engine].append(_forwarded(own, engine, brokers, topic, events, f"{topic}-{engine}-{number}"))
    document: dict[str, Any] = {engine: _summed(found) for engine, found in passes.items()}
    method = METHOD.format(partitions=KAFKA_PARTITIONS)
    return headed(method, events, {**document, "repeats": repeats, "kafka_partitions": KAFKA_PARTITIONS})


def _foreign(event: Event) -> bytes:
    """Return an event as another system writes it: other names, one level deeper."""
    item = event.items[0]
    who = {"id": event.user_id, "device": event.context.get("device")}
    return msgspec.json.encode({"id": event.event_id, "what": event.event_type, "who": who, "sku": item.item_id})


def _forwarded(own: Rig, engine: Engine, brokers: str, topic: str, events: int, group: str) -> _Pass:
    before = _appended(own)
    argv = [sys.executable, "-m", "headrace", "bridge", "kafka", "--brokers", brokers, "--topic", topic, "--json"]
    argv += ["--engine", engine, "--group", group, "--map", "event_id=id", "--map", "event_type=what"]
    argv += ["--map", "user_id=who.id", "--map", "context.device=who.device", "--map", "item_id=sku"]
    started = time.perf_counter()
    with subprocess.Popen(
        argv,
        env={**os.environ, **environment(own.settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            wait_until(lambda: _appended(own) > before or process.poll() is not None, f"{engine} forwards nothing")
            first, began, cpu_began = _appended(own), time.perf_counter(), group_cpu_s([process.pid])
            wait_until(lambda: _appended(own) >= before + events or process.poll() is not None, f"{engine} stalls")
            took, cpu_ended = time.perf_counter() - began, group_cpu_s([process.pid])
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        said, _ = process.communicate()
    counts = json.loads(said)
    if counts != {"forwarded": events, "dead": 0, "repeated": 0}:
        raise RuntimeError(f"{engine} forwarded otherwise than it should: {counts}")
    timed = before + events - first
    cpu_us = None if cpu_began is None or cpu_ended is None else (cpu_ended - cpu_began) / timed * 1e6
    return _Pass(timed / took, cpu_us, began - started)


def _appended(own: Rig) -> int:
    return sum(own.log.behind(EVENTS, partition, START) for partition in range(own.partitions))


def _summed(passes: list[_Pass]) -> dict[str, Any]:
    rates, starts = [p.events_per_s for p in passes], [p.start_s for p in passes]
    costs = [p.cpu_us for p in passes if p.cpu_us is not None]
    return {
        "events_per_s": round(median(rates)),
        "events_per_s_spread": spread(rates, 0),
        "cpu_us_per_event": median(costs, 1) if costs else None,
        "cpu_us_per_event_spread": spread(costs, 1) if costs else None,
        "start_s": median(starts, 1),
    }
