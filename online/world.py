"""What a serving worker reads beside the user record: item arrays, sessions and rules, audiences, vectors, rankers.

One thread follows the log and changes it; requests read it. What a request must see whole (toplists, vectors,
blend, ranker) is one reference, replaced and never edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from online.core.audience import Audiences, Liked
from online.core.item_table import ItemTable
from online.core.ranker import PRIOR_RANKER, Ranker, read_ranker
from online.core.rates import Rates
from online.core.rules.rule_set import RuleSet
from online.core.toplists import Toplists
from online.core.update import Update
from online.models.sequential_rules import SequentialRules, SequentialRulesConfig
from online.models.session_blend import BLEND_FILE, SessionBlend, SessionBlendConfig
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.models.session_learner import Click, fold_clicks
from online.models.session_updates import SESSIONS
from online.ports import Artifact
from online.vectors import Vectors
from schemas.item import Item

VECTORS, RANKER, BLEND = "vectors", "ranker", "session_blend"  # names of the artifacts a worker serves
RANKER_FILE, ROOT_FILE = "ranker.json", "root.npy"


def served_ranker(artifact: Artifact) -> Ranker:
    """Return the ranker of a verified artifact.

    Raises:
        ValueError: it must not be served here; see `read_ranker`.
        msgspec.MsgspecError: it holds no ranker.
    """
    root = None
    if ROOT_FILE in artifact.files:  # older versions have none
        root = np.load(artifact.files[ROOT_FILE], allow_pickle=False)
    return read_ranker(artifact.files[RANKER_FILE].read_bytes(), str(artifact.version), root)


def served_blend(artifact: Artifact) -> SessionBlend:
    """Return the session blend of a verified artifact.

    Raises:
        ValueError: it must not be served here; see `SessionBlend.from_state`.
        msgspec.MsgspecError: it holds no blend.
    """
    return SessionBlend.from_state(artifact.files[BLEND_FILE].read_bytes())


@dataclass(slots=True)
class World:
    """The shared state of a serving worker or of a simulation in process."""

    table: ItemTable
    sessions: SessionKnn = field(default_factory=lambda: SessionKnn(SessionKnnConfig(sessions=SESSIONS)))
    audiences: Audiences = field(default_factory=Audiences)
    liked: Mapping[str, Liked] = field(default_factory=dict)  # by audience
    tops: Toplists | None = None
    rates: Rates | None = None
    vectors: Vectors | None = None
    ranker: Ranker = PRIOR_RANKER
    ranker_version: int = 0  # of the artifact the ranker came from, 0 for the prior
    rules: SequentialRules = field(default_factory=lambda: SequentialRules(SequentialRulesConfig()))
    blend: SessionBlend = field(default_factory=lambda: SessionBlend(SessionBlendConfig()))
    rule_set: RuleSet = field(default_factory=RuleSet)  # of the business; `rules` are learned from sequences
    blend_version: int = 0  # of the artifact the blend came from, 0 for the prior

    def put(self, items: Sequence[Item]) -> None:
        """Apply catalogue documents; what rules say of one is known before it may be shown."""
        self.rule_set.put(items, self.table)
        for item in items:
            self.table.put(item)

    def apply(self, update: Update) -> None:
        """Apply one update message to the item arrays, the session index and the rules."""
        if self.table.apply(update):
            clicks = [Click(t.session, self.table.row(t.item_id), t.time, t.was) for t in update.touches]
            fold_clicks(self.sessions, self.rules, clicks)
            for touch, click in zip(update.touches, clicks, strict=True):
                self.audiences.learn_one(touch.audiences, click.row, touch.time)

    def frozen(self) -> World:
        """Return this world with the toplists, vectors, blend and ranker of this moment, for one request to read."""
        return replace(self)

    def refresh(self, now: float) -> None:
        """Recompute toplists, rates and what audiences like as of `now`."""
        self.liked = self.audiences.lists(now)
        self.tops, self.rates = Toplists(self.table, now), Rates(self.table)
