"""Run a view as a dataflow: read batches, fold them, commit each in one atomic step, then send what it says.

The commit unit is (partition, batch). The checkpoint is written with the records, so a flow resumes exactly where
its records stand; Bytewax' own recovery stays off.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from online.core.checkpoint import (
    Checkpoint,
    Folded,
    Writes,
    advance,
    by_topic,
    check_version,
    decode_checkpoint,
    encode_checkpoint,
)
from online.core.letters import REDRIVEN_TO
from online.ports import START, Batch, EventLog, Fenced, Perishable, Position, StateStore, Unavailable

from .commit import CommitSink, LaneCommit
from .lease import Held, Lease, Share
from .log_source import MOVE, RETRY_S, LogSource

P = ParamSpec("P")
T = TypeVar("T")
T_Held = TypeVar("T_Held", bound=Held)

logger = logging.getLogger(__name__)


class Fold(Protocol):
    """The fold of one partition of a view."""

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch whose commit will have the number `seq`."""
        ...


class Step(Held, Protocol):
    """What a dataflow needs of a view."""

    topics: Sequence[str]

    def step(self, batch: Batch) -> Callable[[], None]:
        """Fold a batch; return what commits it, to be called once, in order."""
        ...


@dataclass(slots=True)
class _Tenure:
    """The time of one owner of a partition: its generation, its fold, and up to where it has folded."""

    partition: int
    generation: int
    fold: Fold
    checkpoint: Checkpoint


class View:
    """The running state of one view over the partitions that this process keeps.

    Args:
        name: under which it is claimed and committed.
        topics: that it folds.
        partitions: all there are of it.
        make: the fold of a partition, from what the store holds of it.
        state: where records go.
        log: where messages go.

    Raises:
        NewerVersion: a newer program has written it.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        partitions: Collection[int],
        make: Callable[[int], Fold],
        *,
        state: StateStore,
        log: EventLog,
    ) -> None:
        self.name, self.topics, self.partitions = name, topics, partitions
        self._make, self._state, self._log = make, state, log
        self._tenures: dict[int, _Tenure] = {}
        for partition in partitions:  # before this process has a share of them
            self._check(partition)

    @property
    def adopted(self) -> Set[int]:
        """The partitions this process keeps; one whose owner is now another is not among them."""
        return self._tenures.keys()

    def adopt(self, partition: int) -> None:
        """Become the partition's owner and go on where the last one stood.

        Raises:
            NewerVersion: that was a newer program; if it still runs it stays the owner.
        """
        self._check(partition)
        claim = retried(self._state.claim, self.name, partition)
        checkpoint = decode_checkpoint(claim.checkpoint)
        check_version(checkpoint)
        tenure = _Tenure(partition, claim.generation, self._make(partition), checkpoint)
        self._tenures[partition] = tenure
        self._unless_fenced(tenure, partial(self._send, tenure, checkpoint))

    def release(self, partition: int) -> None:
        """Forget a partition; all its commits have been called."""
        del self._tenures[partition]

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read."""
        return {
            (topic, partition): tenure.checkpoint.positions.get(topic, START)
            for partition, tenure in self._tenures.items()
            for topic in self.topics
        }

    def step(self, batch: Batch) -> Callable[[], None]:
        """Fold a batch; return what commits it, to be called once, in order.

        What it commits is written, then what it sends is appended; both are repeated until they succeed, which is safe:
        records are absolute values, and consumers drop repeated messages. Of a partition with another owner nothing is
        folded, written or sent.
        """
        tenure = self._tenures.get(batch.partition)
        if tenure is None:
            return _nothing
        previous = tenure.checkpoint
        folded = tenure.fold.fold(batch, previous.seq + 1)
        position = batch.messages[-1].position
        checkpoint = advance(previous, batch.topic, position, len(batch.messages), folded)
        tenure.checkpoint = checkpoint
        commit = partial(self._commit, tenure, folded, checkpoint)
        return LaneCommit((self.name, tenure.partition), partial(self._unless_fenced, tenure, commit))

    def _check(self, partition: int) -> None:
        check_version(decode_checkpoint(retried(self._state.checkpoint, self.name, partition)))

    def _unless_fenced(self, tenure: _Tenure, call: Callable[[], None]) -> None:
        """Call while the tenure lasts; being fenced ends it."""
        if self._tenures.get(tenure.partition) is not tenure:
            return
        try:
            call()
        except Fenced as fenced:
            logger.warning("%s", fenced)
            del self._tenures[tenure.partition]

    def _commit(self, tenure: _Tenure, folded: Folded, checkpoint: Checkpoint) -> None:
        self._write(tenure, folded.writes, checkpoint, folded.perishable)
        self._send(tenure, checkpoint)

    def _write(
        self,
        tenure: _Tenure,
        writes: Writes,
        checkpoint: Checkpoint,
        perishable: Mapping[str, Perishable] | None = None,
    ) -> None:
        payload = encode_checkpoint(checkpoint)
        retried(self._state.commit, self.name, tenure.partition, tenure.generation, writes, payload, perishable)

    def _send(self, tenure: _Tenure, checkpoint: Checkpoint) -> None:
        """Append a committed outbox. Events in it are then taken out: they are known again for the dedup horizon only,
        and of a partition that is idle the next owner may come later than that."""
        outbox = by_topic(checkpoint.outbox)
        for topic, messages in outbox.items():
            retried(self._log.append, topic, messages)
        if any(topic in REDRIVEN_TO for topic in outbox):
            self._write(tenure, {}, msgspec.structs.replace(checkpoint, outbox=[]))


def _nothing() -> None:
    """Commit nothing."""


def committed(state: StateStore, view: str, topic: str, partition: int) -> Position:
    """Return up to where a view has folded a topic's partition and committed it.

    Raises:
        Unavailable: the store does not answer.
    """
    return decode_checkpoint(state.checkpoint(view, partition)).positions.get(topic, START)


def retried(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the call's result, repeating it in place while its service is away: a flow waits, it does not end."""
    while True:
        try:
            return call(*args, **kwargs)
        except Unavailable:
            time.sleep(RETRY_S)


def build(
    name: str,
    views: Sequence[Step],
    open_log: Callable[[], EventLog],
    *,
    lease: Lease | None = None,
    stop_at_head: bool = False,
    tick_s: float | None = None,
) -> Dataflow:
    """Return the dataflow that keeps some views; no two of them may read the same topic, ticks apart.

    Without a lease the process has the views to itself.
    """
    share = Share(views, lease)
    flow = Dataflow(name)
    source = LogSource(open_log, share, stop_at_head=stop_at_head, tick_s=tick_s)

    def fold(batch: Batch) -> list[Callable[[], None]]:
        if batch.topic == MOVE:
            return [share.move]
        return [view.step(batch) for view in views if batch.topic in view.topics]

    batches = op.input("read_log", flow, source)
    op.output("commit_batch", op.flat_map("fold_batch", batches, fold), CommitSink())
    return flow


def adopt_all(views: Sequence[T_Held]) -> Sequence[T_Held]:
    """Return views after they have adopted all their partitions: for a process that has them to itself."""
    Share(views).move()
    return views


def run(flow: Dataflow) -> None:
    """Run a dataflow in this process until it is stopped, or has read all it was to read.

    Raises:
        BytewaxRuntimeError: caused by what a view, the log or a store raised.
    """
    cli_main(flow, workers_per_process=1)  # type: ignore[no-untyped-call]
