"""Views that are artifacts: a model folds the log and is published with the positions it has read up to.

Model and positions are one artifact, published by one rename: a restart opens the newest one and reads on behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from online.ports import START, Artifact, ArtifactStore, Batch, CorruptArtifact, Position

from .log_source import TICK

logger = logging.getLogger(__name__)


class Model(Protocol):
    """A model that folds log messages and can be published."""

    def fold(self, batch: Batch) -> None:
        """Learn a batch."""
        ...

    def files(self) -> Mapping[str, bytes | Path] | None:
        """Return the files to publish, what serves and what a restart needs; None when there is nothing to serve."""
        ...

    def summary(self) -> Mapping[str, Any]:
        """Return figures for the lineage."""
        ...


class ArtifactView:
    """Publishes a model at most every `every_s` seconds, when it has learned something."""

    def __init__(
        self,
        name: str,
        topics: Sequence[tuple[str, int]],
        model: Model,
        *,
        artifacts: ArtifactStore,
        running: Artifact | None,
        every_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.topics: Sequence[str] = [*(topic for topic, _ in topics), TICK]
        self._name, self._model, self._artifacts = name, model, artifacts
        self._every_s, self._clock = every_s, clock
        kept: Mapping[str, str] = running.lineage["positions"] if running is not None else {}
        self._positions = {key: kept.get(_label(key), START) for key in topics}
        self._published_at = 0.0
        self._has_learned = False

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read."""
        return dict(self._positions)

    def step(self, batch: Batch) -> Callable[[], None]:
        """Learn a batch; the commit publishes when it is time."""
        if batch.messages:
            self._model.fold(batch)
            self._positions[batch.topic, batch.partition] = batch.messages[-1].position
            self._has_learned = True
        return self._publish_when_due

    def _publish_when_due(self) -> None:
        now = self._clock()
        if not self._has_learned or now - self._published_at < self._every_s:
            return
        files = self._model.files()
        if files is not None:
            lineage = {
                "positions": {_label(key): position for key, position in self._positions.items()},
                "published_at": now,
                **self._model.summary(),
            }
            self._artifacts.publish(self._name, files, lineage)
        self._published_at, self._has_learned = self._clock(), False


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
