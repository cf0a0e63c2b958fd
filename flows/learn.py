"""The learn flow: slates and outcomes -> examples -> rankers side by side -> published weights."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from online.core.example import EXAMPLES, Example, decode_example, example_id
from online.core.join import JOIN_VIEW, OPEN_SLATE, JoinFold
from online.core.ranker import write_ranker
from online.core.session import hash64
from online.models.candidates import Candidates
from online.models.learner import new_learner
from online.models.side_by_side import side_by_side
from online.ports import Artifact, ArtifactStore, Batch, EventLog, StateStore
from online.world import RANKER, RANKER_FILE, ROOT_FILE, ranker_file

from .artifact import ArtifactView, Model
from .view import View, retried

logger = logging.getLogger(__name__)

PUBLISH_S = 2.0
STATE_FILE, LEARNED_FILE = "candidates.json", "learned.json"
STATE_FILE_1, ONLY_LEARNER_1 = "learner.json", "pointwise-1"  # of versions that had one learner
LEARNED_SLATES = 8192  # more than one commit of the join closes


def join_view(*, state: StateStore, log: EventLog, partitions: int, window_s: float) -> View:
    """Return the view that joins slates with outcomes and emits examples."""

    def fold(partition: int) -> JoinFold:
        stored = retried(lambda: dict(state.scan(partition, OPEN_SLATE)))
        return JoinFold(partition, stored, window_s=window_s)

    return View(JOIN_VIEW, JoinFold.topics, range(partitions), fold, state=state, log=log)


def ranker_view(*, artifacts: ArtifactStore, clock: Callable[[], float], active: str = "") -> ArtifactView:
    """Return the view that learns the ranker from examples and publishes it; `active` as in `restored`.

    Raises:
        ValueError: there is no such candidate.
    """
    side_by_side(active)
    restore = partial(restored, active=active)
    return ArtifactView(RANKER, [(EXAMPLES, 0)], restore, artifacts=artifacts, every_s=PUBLISH_S, clock=clock)


def restored(running: Artifact | None, active: str = "") -> Model:
    """Return the ranker of a published version, or one that has learned nothing.

    `active` names the candidate that serves, where that is not to be the one that has so far.
    """
    if running is None:
        return _RankerModel(Candidates(side_by_side(active)), [])
    learned = msgspec.json.decode(running.files[LEARNED_FILE].read_bytes(), type=list[int])
    if STATE_FILE in running.files:
        names = side_by_side(active) if active else ()
        return _RankerModel(Candidates.from_state(running.files[STATE_FILE].read_bytes(), names), learned)
    candidates = Candidates(side_by_side(active or ONLY_LEARNER_1))
    kept = running.files[STATE_FILE_1].read_bytes()
    candidates.learners[ONLY_LEARNER_1] = new_learner(ONLY_LEARNER_1, kept)
    return _RankerModel(candidates, learned)


class _RankerModel:
    """The candidates, and hashes of the examples learned last: after a crash the join appends its last ones again."""

    def __init__(self, candidates: Candidates, learned: Sequence[int]) -> None:
        self._candidates = candidates
        self._learned = dict.fromkeys(learned)

    def fold(self, batch: Batch) -> None:
        for message in batch.messages:
            try:
                self._learn_one(decode_example(message.payload))
            except (msgspec.MsgspecError, ValueError) as error:
                logger.error("skipping example %s: %s", message.position, error)

    def _learn_one(self, example: Example) -> None:
        key = hash64(example_id(example))
        if key in self._learned:
            return
        self._candidates.learn_one(example)
        self._learned[key] = None
        if len(self._learned) > LEARNED_SLATES:
            del self._learned[next(iter(self._learned))]

    def files(self) -> Mapping[str, bytes]:
        rankers, root = self._candidates.exports("", list(self._candidates.learners)), io.BytesIO()
        active = rankers[self._candidates.active]
        assert active.root is not None
        np.save(root, active.root, allow_pickle=False)
        return {
            RANKER_FILE: write_ranker(active),
            **{ranker_file(name): write_ranker(ranker) for name, ranker in rankers.items()},
            ROOT_FILE: root.getvalue(),
            STATE_FILE: self._candidates.state(),
            LEARNED_FILE: msgspec.json.encode(list(self._learned)),
        }

    def summary(self) -> Mapping[str, Any]:
        return self._candidates.summary()
