"""`headrace bench ingest`: what it costs to fold an event, and how many come in, by log and by HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flows.log_source import BATCH_MESSAGES
from flows.state import state_view
from flows.view import build, run
from headrace.bench.load import Load, send
from headrace.bench.measure import collector_off, headed, median, spread, timed
from headrace.bench.rig import Rig, rig
from headrace.bench.stream import Stream, append, load_catalogue, load_events, messages
from online.connect import open_log, open_state
from online.core.checkpoint import Checkpoint, advance, encode_checkpoint
from online.core.partition import EVENTS, ITEM, USER, PartitionFold
from online.core.update import UPDATES
from online.ports import START, StateStore

VIEW = "state"
CONNECTIONS = 16
BATCH = 100

METHOD = (
    "fold_us: CPU time of this process (all threads, collector off as in the state flow) per event through the real "
    "Bytewax dataflow: log read, JSON decode, fold of the full record, packed write and checkpoint in one transaction, "
    "updates sent. loop_us: the same work in a plain consumer loop. Both fold the same recorded segments of one stream "
    "from the embedded Valkey (so that client and protocol costs count; the server's own CPU does not) into stores of "
    "their own, in turns (which goes first alternates), after a history that fills records and caches; the two stores "
    "end byte-equal. Figures are medians over the repeats, spread is [least, greatest]. records_per_event tells how "
    "many user records a batch writes per event. log_to_state_eps: wall time from the first append until the state "
    "flow, a process of its own, has committed the last event. http_*_eps: acknowledged events per second of a closed "
    "loop of keep-alive connections from a process of its own, while the state flow folds what comes in."
)


def ingest(
    *,
    users: int = 5000,
    items: int = 10_000,
    history: int = 200_000,
    segment: int = 60_000,
    repeats: int = 5,
    http_seconds: float = 5.0,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the ingest path.

    Args:
        users: of the stream.
        items: of the stream.
        history: events folded before anything is measured.
        segment: events of one repeat.
        repeats: of the fold, by dataflow and by loop each.
        http_seconds: of each HTTP load.
        seed: of the stream.
        progress: told what is going on.
    """
    stream = Stream(users=users, items=items, seed=seed)
    with rig() as own, collector_off():
        folds = _folds(own, stream, history, segment, repeats, progress)
    with rig(flows=("state",), api=True) as whole:
        progress("log to state")
        ends = {"log_to_state_eps": _log_to_state(whole, stream, segment)}
        load_catalogue(whole.log, stream, time.time())
        whole.until_catalogued()
        for name, batch in (("http_single_eps", 1), ("http_batch_eps", BATCH)):
            progress(f"HTTP events, {batch} a request, {CONNECTIONS} connections")
            ends[name] = _http(whole, stream, batch, http_seconds)
    document = {**folds, **ends, "users": users, "items": items, "batch_messages": BATCH_MESSAGES}
    return headed(METHOD, repeats * segment, document)


def _folds(
    own: Rig, stream: Stream, history: int, segment: int, repeats: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    flow_state, loop_state = (open_state(f"{own.settings.state}?db={number}") for number in (1, 2))
    flow = _Flow(own, flow_state)
    loop = _Loop(own, loop_state)
    progress(f"history of {history} events")
    load_events(own.log, stream, history, own.partitions)
    flow()
    loop()
    rounds: dict[str, list[float]] = {"flow": [], "loop": []}
    for number in range(repeats):
        progress(f"fold, repeat {number + 1} of {repeats}")
        _forget(own)
        append(own.log, EVENTS, messages(stream.events(segment), own.partitions))
        sides: list[tuple[str, Callable[[], object]]] = [("flow", flow), ("loop", loop)]
        for name, fold in sides if number % 2 == 0 else sides[::-1]:
            with timed() as took:
                fold()
            rounds[name].append(took.cpu_s / segment * 1e6)
    ratios = [b / a for a, b in zip(rounds["flow"], rounds["loop"], strict=True)]
    fold_us = median(rounds["flow"])
    return {
        "fold_us": fold_us,
        "fold_us_spread": spread(rounds["flow"]),
        "loop_us": median(rounds["loop"]),
        "loop_us_spread": spread(rounds["loop"]),
        "ratio_to_loop": median(ratios, 3),
        "ratio_spread": spread(ratios, 3),
        "events_per_core_s": round(1e6 / fold_us),
        "records_per_event": round(loop.records / loop.events, 3),
        "record_bytes": _record_bytes(loop_state, own.partitions),
        "equal": _dump(flow_state, own.partitions) == _dump(loop_state, own.partitions),
    }


class _Flow:
    """Folds what the log holds through the dataflow; the view and its caches stay from call to call."""

    def __init__(self, own: Rig, state: StateStore) -> None:
        self._view = state_view(state=state, log=own.log, partitions=own.partitions)
        self._open_log = partial(open_log, own.settings.log)

    def __call__(self) -> None:
        run(build("state", [self._view], self._open_log, stop_at_head=True))


class _Loop:
    """Folds what the log holds in a plain consumer loop."""

    def __init__(self, own: Rig, state: StateStore) -> None:
        self._log, self._state = own.log, state
        self._generations = {p: state.claim(VIEW, p).generation for p in range(own.partitions)}
        self._checkpoints = dict.fromkeys(self._generations, Checkpoint())
        self._folds = {p: PartitionFold(p, self._loader(p)) for p in self._generations}
        self.events = self.records = 0

    def _loader(self, partition: int) -> Callable[[str, Sequence[str]], list[bytes | None]]:
        return lambda family, keys: self._state.get_many(partition, family, keys)

    def __call__(self) -> None:
        after = {(EVENTS, p): c.positions.get(EVENTS, START) for p, c in self._checkpoints.items()}
        while batches := self._log.read(after, max_messages=BATCH_MESSAGES, wait_s=0.0):
            for batch in batches:
                partition, end = batch.partition, batch.messages[-1].position
                previous = self._checkpoints[partition]
                folded = self._folds[partition].fold(batch, previous.seq + 1)
                checkpoint = advance(previous, EVENTS, end, len(batch.messages), folded)
                self._state.commit(
                    VIEW, partition, self._generations[partition], folded.writes, encode_checkpoint(checkpoint)
                )
                self._log.append(UPDATES, [(0, payload) for _, _, payload in folded.outbox])
                self._checkpoints[partition] = checkpoint
                after[EVENTS, partition] = end
                self.events += len(batch.messages)
                self.records += len(folded.writes[USER])


def _forget(own: Rig) -> None:
    """Trim what both sides have folded, and the updates that nobody reads here."""
    topics = [(EVENTS, p) for p in range(own.partitions)] + [(UPDATES, 0)]
    for topic, partition in topics:
        own.log.trim(topic, partition, own.log.extent(topic, partition).last)


def _dump(state: StateStore, partitions: int) -> dict[tuple[int, str, str], bytes]:
    return {(p, f, key): value for p in range(partitions) for f in (USER, ITEM) for key, value in state.scan(p, f)}


def _record_bytes(state: StateStore, partitions: int) -> int:
    sizes = [len(value) for p in range(partitions) for _, value in state.scan(p, USER)]
    return round(sum(sizes) / len(sizes))


def _log_to_state(whole: Rig, stream: Stream, n: int) -> int:
    prepared = messages(stream.events(n), whole.partitions)
    began = time.perf_counter()
    whole.until_folded(append(whole.log, EVENTS, prepared))
    return round(n / (time.perf_counter() - began))


def _http(whole: Rig, stream: Stream, batch: int, seconds: float) -> int:
    load = Load(
        host=whole.settings.host,
        port=whole.settings.port,
        kind="events",
        seconds=seconds,
        connections=CONNECTIONS,
        users=stream.users,
        items=stream.items,
        batch=batch,
    )
    outcome = send(load)
    return round(len(outcome.latencies_ms) * batch / outcome.took_s)
