"""Views that are artifacts: a model folds the log and is published with the positions it has read up to.

Model and positions are one artifact, published by one rename: a restart opens the newest one and reads on behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from online.ports import START, Artifact, ArtifactStore, Batch, CorruptArtifact, Fenced, Position, UnsoundIndex

from .log_source import TICK

logger = logging.getLogger(__name__)


class Model(Protocol):
    """A model that folds log messages and can be published."""

    def fold(self, batch: Batch) -> None:
        """Learn a batch."""
        ...

    def files(self) -> Mapping[str, bytes | Path] | None:
        """Return the files to publish, what serves and what a restart needs; None when there is nothing to serve.

        Raises:
            UnsoundIndex: what would serve does not; the version before is to be kept.
        """
        ...

    def summary(self) -> Mapping[str, Any]:
        """Return figures for the lineage."""
        ...


@dataclass(slots=True)
class _Tenure:
    """The time of one owner: the model, and what of the log it has learned."""

    model: Model
    newest: int  # number of the version that the next one is to follow
    positions: dict[tuple[str, int], Position]
    published_at: float = 0.0
    has_learned: bool = False


class ArtifactView:
    """Publishes a model at most every `every_s` seconds, when it has learned something.

    It has one partition. Whoever adopts it goes on from the newest version, and each version follows the one its owner
    knows of: the first of two owners to publish fences the other. A model that keeps less than it folds is read again
    (`is_read_again`): its new owner begins at what the log still holds.
    """

    partitions = range(1)

    def __init__(
        self,
        name: str,
        topics: Sequence[tuple[str, int]],
        restore: Callable[[Artifact | None], Model],
        *,
        artifacts: ArtifactStore,
        every_s: float,
        clock: Callable[[], float],
        is_read_again: bool = False,
    ) -> None:
        self.topics: Sequence[str] = [*(topic for topic, _ in topics), TICK]
        self._name, self._keys, self._restore, self._artifacts = name, topics, restore, artifacts
        self._every_s, self._clock, self._is_read_again = every_s, clock, is_read_again
        self._tenure: _Tenure | None = None

    @property
    def adopted(self) -> Set[int]:
        """Partition 0 while this process keeps the model, and until another has published."""
        return frozenset() if self._tenure is None else frozenset({0})

    def adopt(self, partition: int) -> None:
        """Go on from the newest version."""
        newest = self._artifacts.newest(self._name)  # first: what is published from here on fences this owner
        running = newest_sound(self._artifacts, self._name)
        kept: Mapping[str, str] = {}
        if running is not None and not self._is_read_again:
            kept = running.lineage["positions"]
        positions = {key: kept.get(_label(key), START) for key in self._keys}
        self._tenure = _Tenure(self._restore(running), newest, positions)

    def release(self, partition: int) -> None:
        """Publish what is learned, and forget the model."""
        self._publish_when_due(0.0)
        self._tenure = None

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read."""
        return {} if self._tenure is None else dict(self._tenure.positions)

    def step(self, batch: Batch) -> Callable[[], None]:
        """Learn a batch; the commit publishes when it is time."""
        tenure = self._tenure
        if tenure is not None and batch.messages:
            tenure.model.fold(batch)
            tenure.positions[batch.topic, batch.partition] = batch.messages[-1].position
            tenure.has_learned = True
        return partial(self._publish_when_due, self._every_s)

    def _publish_when_due(self, every_s: float) -> None:
        tenure, now = self._tenure, self._clock()
        if tenure is None or not tenure.has_learned or now - tenure.published_at < every_s:
            return
        try:
            self._publish(tenure, now)
        except UnsoundIndex as error:
            logger.error("keeping %s %d: %s", self._name, tenure.newest, error)
        except Fenced as fenced:
            logger.warning("%s", fenced)
            self._tenure = None
        tenure.published_at, tenure.has_learned = self._clock(), False

    def _publish(self, tenure: _Tenure, now: float) -> None:
        files = tenure.model.files()
        if files is None:
            return
        lineage = {
            "positions": {_label(key): position for key, position in tenure.positions.items()},
            "published_at": now,
            **tenure.model.summary(),
        }
        tenure.newest = self._artifacts.publish(self._name, files, lineage, after=tenure.newest).version


def newest_sound(artifacts: ArtifactStore, name: str) -> Artifact | None:
    """Return the newest version that opens; a damaged one is passed over, its model learns again from further back."""
    try:
        version = artifacts.latest(name)
    except CorruptArtifact as error:
        logger.error("learning %s from the start of the log: %s", name, error)
        return None
    while version is not None and version > 0:
        try:
            artifact = artifacts.open(name, version)
        except CorruptArtifact as error:
            logger.error("passing over %s %d: %s", name, version, error)
            artifact = None
        if artifact is not None:
            return artifact
        version -= 1
    return None


def _label(key: tuple[str, int]) -> str:
    return f"{key[0]}/{key[1]}"
