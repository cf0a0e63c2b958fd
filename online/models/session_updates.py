"""The session blend over the log's updates: the fold of touches that is published as weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from online.core.item_table import Vocabulary
from online.core.update import Update, decode_update
from online.models.sequential_rules import SequentialRules, SequentialRulesConfig
from online.models.session_blend import BLEND_FILE, SessionBlend, SessionBlendConfig
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.models.session_learner import Click, SessionLearner, fold_clicks
from online.ports import Batch

logger = logging.getLogger(__name__)

LEARNED_FILE = "learned.json"
SESSIONS = 200_000  # that an index keeps, here and in a serving worker


class SessionUpdates:
    """Learns the blend from updates, each click predicted before it is folded.

    The weights are kept, index and rules are not: whoever takes over reads again what the log still holds, which fills
    them as it fills a serving worker's, and learns weights only from updates that nobody has learned before.
    """

    def __init__(self) -> None:
        knn = SessionKnn(SessionKnnConfig(sessions=SESSIONS))
        rules = SequentialRules(SequentialRulesConfig())
        self._learner = SessionLearner(knn, rules, SessionBlend(SessionBlendConfig()))
        self._ids = Vocabulary()
        self._folded: dict[int, int] = {}  # partition -> seq of the last update
        self._learned: dict[int, int] = {}

    @property
    def blend(self) -> SessionBlend:
        """The blend, which later learning changes; copy it to keep it."""
        return self._learner.blend

    def restore(self, blend: bytes, learned: bytes) -> None:
        """Go on from published weights."""
        self._learner.blend = SessionBlend.from_state(blend)
        self._learned = msgspec.json.decode(learned, type=dict[int, int])

    def fold(self, batch: Batch) -> None:
        """Learn a batch of updates."""
        for message in batch.messages:
            try:
                self.learn(decode_update(message.payload))
            except msgspec.MsgspecError as error:
                logger.error("skipping %s %s: %s", batch.topic, message.position, error)

    def learn(self, update: Update) -> None:
        """Learn an update's touches; a repeated update changes nothing."""
        if update.seq <= self._folded.get(update.partition, 0):
            return
        self._folded[update.partition] = update.seq
        is_new = update.seq > self._learned.get(update.partition, 0)
        learner = self._learner
        clicks = [
            Click(touch.session, self._ids.code(touch.item_id), touch.time, touch.was) for touch in update.touches
        ]
        if is_new:
            learner.learn_many(clicks)
            self._learned[update.partition] = update.seq
        else:
            fold_clicks(learner.knn, learner.rules, clicks)

    def files(self) -> Mapping[str, bytes]:
        """Return the weights, and which updates they have learned."""
        return {BLEND_FILE: self.blend.state(), LEARNED_FILE: msgspec.json.encode(self._learned)}

    def summary(self) -> Mapping[str, Any]:
        """Return figures for the lineage."""
        return {"clicks": self.blend.clicks, "log_loss": self.blend.log_loss}
