"""The state flow: events and user documents -> user records and item aggregates, exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from online.core.catalogue import CATALOGUE_VIEW, CatalogueFold
from online.core.partition import PartitionFold
from online.core.step import FoldConfig
from online.ports import EventLog, StateStore

from .view import View, retried

STATE_VIEW = "state"


def state_view(*, state: StateStore, log: EventLog, partitions: int, config: FoldConfig | None = None) -> View:
    """Return the state view over all partitions of the log."""

    def fold(partition: int) -> PartitionFold:
        def load(family: str, keys: Sequence[str]) -> list[bytes | None]:
            return retried(state.get_many, partition, family, keys)

        return PartitionFold(partition, load, config)

    folds = {p: fold(p) for p in range(partitions)}
    return View(STATE_VIEW, PartitionFold.topics, folds, state=state, log=log)


def catalogue_view(*, state: StateStore, log: EventLog) -> View:
    """Return the catalogue view; it has one partition."""
    return View(CATALOGUE_VIEW, CatalogueFold.topics, {0: CatalogueFold()}, state=state, log=log)
