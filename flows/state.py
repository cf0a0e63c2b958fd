"""The state flow: events and user documents -> user records and item aggregates, exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from online.core.catalogue import CATALOGUE_VIEW, CatalogueFold
from online.core.control import CONTROL_VIEW, ControlFold
from online.core.letters import LETTER, LETTERS_VIEW, LettersFold
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

        return PartitionFold(partition, load, config, partitions=partitions)

    return View(STATE_VIEW, PartitionFold.topics, range(partitions), fold, state=state, log=log)


def catalogue_view(*, state: StateStore, log: EventLog) -> View:
    """Return the catalogue view; it has one partition."""
    return View(CATALOGUE_VIEW, CatalogueFold.topics, range(1), lambda _: CatalogueFold(), state=state, log=log)


def control_view(*, state: StateStore, log: EventLog) -> View:
    """Return the view of policies, surfaces and models; it has one partition."""

    def fold(partition: int) -> ControlFold:
        return ControlFold(lambda family, keys: retried(state.get_many, partition, family, keys))

    return View(CONTROL_VIEW, ControlFold.topics, range(1), fold, state=state, log=log)


def letters_view(*, state: StateStore, log: EventLog, partitions: int) -> View:
    """Return the view of dead letters, which also redrives them; it has one partition."""

    def fold(partition: int) -> LettersFold:
        return LettersFold(retried(lambda: dict(state.scan(partition, LETTER))), partitions=partitions)

    return View(LETTERS_VIEW, LettersFold.topics, range(1), fold, state=state, log=log)
