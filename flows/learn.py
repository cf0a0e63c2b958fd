"""The learn flow: slates and outcomes -> examples -> the click ranker -> published weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from online.core.example import EXAMPLES, decode_example
from online.core.join import JOIN_VIEW, OPEN_SLATE, JoinFold
from online.core.ranker import write_ranker
from online.models.click_ranker import ClickRanker
from online.ports import ArtifactStore, Batch, EventLog, StateStore
from online.world import RANKER, RANKER_FILE

from .artifact import ArtifactView, newest_sound
from .view import View, retried

logger = logging.getLogger(__name__)

PUBLISH_S = 2.0
STATE_FILE = "learner.json"


def join_view(*, state: StateStore, log: EventLog, partitions: int, window_s: float) -> View:
    """Return the view that joins slates with outcomes and emits examples."""

    def fold(partition: int) -> JoinFold:
        stored = retried(lambda: dict(state.scan(partition, OPEN_SLATE)))
        return JoinFold(partition, stored, window_s=window_s)

    return View(JOIN_VIEW, JoinFold.topics, {p: fold(p) for p in range(partitions)}, state=state, log=log)


def ranker_view(*, artifacts: ArtifactStore, clock: Callable[[], float]) -> ArtifactView:
    """Return the view that learns the ranker from examples and publishes it."""
    running = newest_sound(artifacts, RANKER)
    ranker = ClickRanker() if running is None else ClickRanker.from_state(running.files[STATE_FILE].read_bytes())
    return ArtifactView(
        RANKER,
        [(EXAMPLES, 0)],
        _RankerModel(ranker),
        artifacts=artifacts,
        running=running,
        every_s=PUBLISH_S,
        clock=clock,
    )


class _RankerModel:
    def __init__(self, ranker: ClickRanker) -> None:
        self._ranker = ranker

    def fold(self, batch: Batch) -> None:
        for message in batch.messages:
            try:
                self._ranker.learn_one(decode_example(message.payload))
            except (msgspec.MsgspecError, ValueError) as error:
                logger.error("skipping example %s: %s", message.position, error)

    def files(self) -> Mapping[str, bytes]:
        return {RANKER_FILE: write_ranker(self._ranker.export("")), STATE_FILE: self._ranker.state()}

    def summary(self) -> Mapping[str, Any]:
        ranker = self._ranker
        return {
            "slates": ranker.slates,
            "rows": ranker.rows,
            "clicks": ranker.clicks,
            "log_loss": ranker.log_loss,
            "mean_log_loss": ranker.mean_log_loss,
        }
