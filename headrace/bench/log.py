"""`headrace bench log`: what a log takes, gives back and adds in time, on the embedded Redis Streams and on Pulsar."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flows.log_source import BATCH_MESSAGES
from flows.state import state_view
from flows.view import build, run
from headrace.bench.measure import collector_off, headed, median, quantiles, spread, timed
from headrace.bench.rig import Rig, rig
from headrace.bench.stream import Stream, append, messages
from online.connect import open_log
from online.core.partition import EVENTS
from online.ports import START, EventLog, Position

TOPIC = "latency"
STEP_S = 0.001  # between looks whether a message is due

METHOD = (
    "append_eps, read_eps: events per second (wall time) of one process that appends a segment of events to four "
    "partitions in chunks of 5,000 and waits for each chunk to be acknowledged, then reads the segment back; append_us "
    "and read_us: its CPU time per event, all threads. ingest_eps: the real state flow in this process, from opening "
    "the log until the last record of the segment is committed to an embedded Valkey; ingest_us its CPU. Segments are "
    "the same for all logs, in turns (which log goes first alternates); figures are medians over the repeats, spread "
    "is [least, greatest]; ingest_ratio is the median of the repeats' ratios, Pulsar to embedded. Latency, from the "
    "moment a message was due until it was read: messages come due on a fixed clock at `rate` per second (open loop), "
    "a writer appends all that are due in one call, as an API worker does, and a reader in the same process waits for "
    "them."
)

Positions = dict[tuple[str, int], Position]


@dataclass
class _Side:
    """A log under test: its rig, how far it was read, and the rounds measured."""

    own: Rig
    log: EventLog
    after: Positions
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, value: float) -> None:
        self.rounds.setdefault(name, []).append(value)


def log(
    pulsar: str = "",
    *,
    events: int = 60_000,
    repeats: int = 5,
    rate: int = 1000,
    seconds: float = 20.0,
    users: int = 5000,
    items: int = 10_000,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the embedded log, and the Pulsar log at a URL if one is given, in turns.

    Args:
        pulsar: URL.
        events: of a segment.
        repeats: segments.
        rate: messages per second while latency is measured.
        seconds: of the latency's measurement.
        users: of the stream.
        items: of the stream.
        seed: of the stream.
        progress: told what is going on.
    """
    stream = Stream(users=users, items=items, seed=seed)
    with ExitStack() as stack:
        urls = {"embedded": "", "pulsar": pulsar} if pulsar else {"embedded": ""}
        sides = {name: _side(stack.enter_context(rig(log=url))) for name, url in urls.items()}
        stack.enter_context(collector_off())
        for number in range(repeats):
            segment = list(stream.events(events))
            for name, side in list(sides.items())[:: 1 if number % 2 == 0 else -1]:
                progress(f"segment {number + 1} of {repeats}: {name}")
                _round(side, messages(segment, side.own.partitions))
        found = {name: _figures(side) for name, side in sides.items()}
        for name, side in sides.items():
            progress(f"latency at {rate}/s: {name}")
            found[name] |= _latency(side, rate, seconds)
    document: dict[str, Any] = {**found, "rate": rate, "users": users, "items": items}
    if pulsar:
        pairs = zip(sides["pulsar"].rounds["ingest_eps"], sides["embedded"].rounds["ingest_eps"], strict=True)
        ratios = [on_pulsar / embedded for on_pulsar, embedded in pairs]
        document |= {"ingest_ratio": median(ratios, 3), "ingest_ratio_spread": spread(ratios, 3)}
    return headed(METHOD, events * repeats, document)


def _side(own: Rig) -> _Side:
    return _Side(own, own.log, {(EVENTS, partition): START for partition in range(own.partitions)})


def _round(side: _Side, segment: list[tuple[int, bytes]]) -> None:
    steps: dict[str, Callable[[], None]] = {
        "append": lambda: _append(side, segment),
        "read": lambda: _read(side),
        "ingest": lambda: _ingest(side.own),
    }
    for name, step in steps.items():
        with timed() as took:
            step()
        side.note(f"{name}_eps", len(segment) / took.wall_s)
        side.note(f"{name}_us", took.cpu_s / len(segment) * 1e6)


def _append(side: _Side, segment: list[tuple[int, bytes]]) -> None:
    append(side.log, EVENTS, segment)


def _read(side: _Side) -> None:
    while batches := side.log.read(side.after, max_messages=BATCH_MESSAGES, wait_s=0.0):
        for batch in batches:
            side.after[batch.topic, batch.partition] = batch.messages[-1].position


def _ingest(own: Rig) -> None:
    view = state_view(state=own.state, log=own.log, partitions=own.partitions)
    run(build("state", [view], partial(open_log, own.settings.log), stop_at_head=True))


def _figures(side: _Side) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, values in side.rounds.items():
        digits = 0 if name.endswith("_eps") else 2
        found |= {name: median(values, digits), f"{name}_spread": spread(values, digits)}
    return found


def _latency(side: _Side, rate: int, seconds: float) -> dict[str, Any]:
    count = int(rate * seconds)
    after = {(TOPIC, partition): START for partition in range(side.log.create(TOPIC, side.own.partitions))}
    began = time.perf_counter() + 0.5
    taken: list[float] = []
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(_write, side.own, began, rate, count)
        while len(taken) < count and not (writing.done() and writing.exception()):
            for batch in side.log.read(after, max_messages=BATCH_MESSAGES, wait_s=1.0):
                now = time.perf_counter()
                after[batch.topic, batch.partition] = batch.messages[-1].position
                taken += [(now - began - int(message.payload) / rate) * 1000 for message in batch.messages]
        writing.result()
    return {**quantiles(taken, 50, 90, 99), "latency_n": len(taken)}


def _write(own: Rig, began: float, rate: int, count: int) -> None:
    """Append the messages from 0 to `count` when they are due, all that are due at once."""
    sent = 0
    with closing(open_log(own.settings.log)) as log:
        while sent < count:
            due = min(count, int((time.perf_counter() - began) * rate))
            if due > sent:
                log.append(TOPIC, [(number % own.partitions, b"%d" % number) for number in range(sent, due)])
                sent = due
            else:
                time.sleep(STEP_S)
