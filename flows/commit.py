"""The sink of a flow: commits of different partitions beside one another, those of one partition in order.

A commit mostly waits, for the store to sync it and then for the log. Stores and logs sync what comes together at once,
so commits that wait together cost no more than one; and the next batches are folded meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from bytewax.outputs import DynamicSink, StatelessSinkPartition

LANES = 32  # threads at most; they are started as lanes come


@dataclass(frozen=True, slots=True)
class LaneCommit:
    """A commit that depends on those of its lane only."""

    lane: Hashable
    call: Callable[[], None]

    def __call__(self) -> None:
        """Commit."""
        self.call()


class CommitSink(DynamicSink[Callable[[], None]]):
    """Calls commits: one without a lane when all before it are done, and alone."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> StatelessSinkPartition[Callable[[], None]]:
        return _CommitWriter()


class _CommitWriter(StatelessSinkPartition[Callable[[], None]]):
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LANES, "commit")
        self._under_way: dict[Hashable, Future[None]] = {}

    def write_batch(self, items: list[Callable[[], None]]) -> None:
        for commit in items:
            if isinstance(commit, LaneCommit):
                self._await(commit.lane)
                self._under_way[commit.lane] = self._threads.submit(commit)
            else:
                self._await_all()
                commit()

    def _await(self, lane: Hashable) -> None:
        before = self._under_way.pop(lane, None)
        if before is not None:
            before.result()  # raises what it raised

    def _await_all(self) -> None:
        for lane in list(self._under_way):
            self._await(lane)

    def close(self) -> None:
        self._await_all()
        self._threads.shutdown()
