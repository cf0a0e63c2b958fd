"""Run a view as a dataflow: read batches, fold them, commit each in one atomic step, then send what it says.

The commit unit is (partition, batch). The checkpoint is written with the records, so a flow resumes exactly where
its records stand; Bytewax' own recovery stays off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, ParamSpec, Protocol, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main

from online.core.checkpoint import Checkpoint, Folded, Outgoing, advance, decode_checkpoint, encode_checkpoint
from online.ports import START, Batch, EventLog, Position, StateStore, Unavailable

from .log_source import RETRY_S, LogSource

P = ParamSpec("P")
T = TypeVar("T")


class Fold(Protocol):
    """The fold of one partition of a view."""

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch whose commit will have the number `seq`."""
        ...


class Step(Protocol):
    """What a dataflow needs of a view."""

    topics: Sequence[str]

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read."""
        ...

    def step(self, batch: Batch) -> Callable[[], None]:
        """Fold a batch; return what commits it, to be called once, in order."""
        ...


class Commit(NamedTuple):
    """One batch folded: what to write, and where the partition then stands."""

    partition: int
    folded: Folded
    checkpoint: Checkpoint


class View:
    """The running state of one view over all its partitions: claims, checkpoints and folds."""

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        folds: Mapping[int, Fold],
        *,
        state: StateStore,
        log: EventLog,
    ) -> None:
        self.name, self.topics = name, topics
        self._folds, self._state, self._log = folds, state, log
        self._generations: dict[int, int] = {}
        self._checkpoints: dict[int, Checkpoint] = {}
        for partition in folds:
            self._claim(partition)

    def _claim(self, partition: int) -> None:
        claim = retried(self._state.claim, self.name, partition)
        self._generations[partition] = claim.generation
        self._checkpoints[partition] = decode_checkpoint(claim.checkpoint)
        self._send(self._checkpoints[partition].outbox)

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read."""
        return {
            (topic, partition): checkpoint.positions.get(topic, START)
            for partition, checkpoint in self._checkpoints.items()
            for topic in self.topics
        }

    def step(self, batch: Batch) -> Callable[[], None]:
        """Fold a batch; return what commits it, to be called once, in order."""
        previous = self._checkpoints[batch.partition]
        folded = self._folds[batch.partition].fold(batch, previous.seq + 1)
        position = batch.messages[-1].position
        checkpoint = advance(previous, batch.topic, position, len(batch.messages), folded.outbox)
        self._checkpoints[batch.partition] = checkpoint
        return partial(self._commit, Commit(batch.partition, folded, checkpoint))

    def _commit(self, commit: Commit) -> None:
        """Write a folded batch, then append what it sends. Both are repeated until they succeed.

        Repeating is safe: records are absolute values, and consumers drop repeated messages.

        Raises:
            Fenced: another process has claimed the partition.
        """
        generation = self._generations[commit.partition]
        payload = encode_checkpoint(commit.checkpoint)
        retried(self._state.commit, self.name, commit.partition, generation, commit.folded.writes, payload)
        self._send(commit.folded.outbox)

    def _send(self, outbox: Sequence[Outgoing]) -> None:
        for topic in dict.fromkeys(topic for topic, _, _ in outbox):
            messages = [(partition, payload) for t, partition, payload in outbox if t == topic]
            retried(self._log.append, topic, messages)


def retried(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the call's result, repeating it in place while its service is away: a flow waits, it does not end."""
    while True:
        try:
            return call(*args, **kwargs)
        except Unavailable:
            time.sleep(RETRY_S)


class _CommitSink(DynamicSink[Callable[[], None]]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Callable[[], None]]:
        return _CommitWriter()


class _CommitWriter(StatelessSinkPartition[Callable[[], None]]):
    def write_batch(self, items: list[Callable[[], None]]) -> None:
        for commit in items:
            commit()


def build(
    name: str,
    views: Sequence[Step],
    open_log: Callable[[], EventLog],
    *,
    stop_at_head: bool = False,
    tick_s: float | None = None,
) -> Dataflow:
    """Return the dataflow that keeps some views; no two of them may read the same topic, ticks apart."""
    after = {key: position for view in views for key, position in view.positions().items()}
    flow = Dataflow(name)
    source = LogSource(open_log, after, stop_at_head=stop_at_head, tick_s=tick_s)
    batches = op.input("read_log", flow, source)
    commits = op.flat_map(
        "fold_batch", batches, lambda batch: [view.step(batch) for view in views if batch.topic in view.topics]
    )
    op.output("commit_batch", commits, _CommitSink())
    return flow


def run(flow: Dataflow) -> None:
    """Run a dataflow in this process until it is stopped, or has read all it was to read."""
    cli_main(flow, workers_per_process=1)  # type: ignore[no-untyped-call]
