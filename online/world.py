"""What a serving worker reads beside the user record: item arrays, sessions and rules, audiences, vectors, rankers.

One thread follows the log and changes it; requests read it. What a request must see whole (toplists, vectors,
blend, ranker) is one reference, replaced and never edited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from online.control.control import BUILT_IN, Control
from online.control.rule import RULE
from online.core.audience import Audiences, Liked
from online.core.item_table import ItemTable
from online.core.policy_document import Policy
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
from online.models.side_by_side import NAMED
from online.ports import Artifact
from online.vectors import Vectors
from schemas.item import Item

VECTORS, RANKER, BLEND = "vectors", "ranker", "session_blend"  # names of the artifacts a worker serves
RANKER_FILE, ROOT_FILE = "ranker.json", "root.npy"


def ranker_file(model: str) -> str:
    """Return the file of a model's ranker among those of the artifact.

    >>> ranker_file("newton-1")
    'ranker-newton-1.json'
    """
    return f"ranker-{model}.json"


def served_ranker(artifact: Artifact) -> Ranker:
    """Return the ranker of a verified artifact that serves where no other one is made active.

    Raises:
        ValueError: it must not be served here; see `read_ranker`.
        msgspec.MsgspecError: it holds no ranker.
    """
    name, version = artifact.lineage.get("active"), str(artifact.version)
    version = f"{name}@{version}" if name else version
    return read_ranker(artifact.files[RANKER_FILE].read_bytes(), version, _root(artifact))


def served_rankers(artifact: Artifact) -> dict[str, Ranker]:
    """Return the rankers of a verified artifact by the names of their models; older versions have none.

    Raises:
        ValueError, msgspec.MsgspecError: as `served_ranker`.
    """
    root = _root(artifact)
    found = {name: artifact.files.get(ranker_file(name)) for name in NAMED}
    return {
        name: read_ranker(path.read_bytes(), f"{name}@{artifact.version}", root)
        for name, path in found.items()
        if path is not None
    }


def _root(artifact: Artifact) -> NDArray[np.float64] | None:
    if ROOT_FILE not in artifact.files:  # as in older versions
        return None
    root: NDArray[np.float64] = np.load(artifact.files[ROOT_FILE], allow_pickle=False)
    return root


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
    rankers: Mapping[str, Ranker] = field(default_factory=dict)  # by model
    ranker_version: int = 0  # of the artifact the rankers came from, 0 for the prior
    rules: SequentialRules = field(default_factory=lambda: SequentialRules(SequentialRulesConfig()))
    blend: SessionBlend = field(default_factory=lambda: SessionBlend(SessionBlendConfig()))
    rule_set: RuleSet = field(default_factory=RuleSet)  # of the business; `rules` are learned from sequences
    blend_version: int = 0  # of the artifact the blend came from, 0 for the prior
    control: Control = BUILT_IN

    def install(self, control: Control) -> None:
        """Take over control documents."""
        rules = control.of(RULE)
        if rules != self.control.of(RULE):
            self.rule_set = RuleSet.over(rules.values(), self.table, self.rule_set)
        self.control = control

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
        """Return this world with the toplists, vectors, blend, ranker and control of this moment, for one request."""
        return replace(self)

    def ranker_of(self, policy: Policy) -> Ranker:
        """Return the ranker a policy names, or the active one; in the place of one not yet published the default."""
        name = self.control.model if policy.ranker == "learned" else policy.ranker
        return self.rankers.get(name, self.ranker)

    @property
    def model(self) -> str:
        """The name of the model that is active."""
        return self.control.model or self.ranker.version.partition("@")[0]

    def refresh(self, now: float) -> None:
        """Recompute toplists, rates and what audiences like as of `now`; find new items among the vectors."""
        self.liked = self.audiences.lists(now)
        self.tops, self.rates = Toplists(self.table, now), Rates(self.table)
        if self.vectors is not None:
            self.vectors = self.vectors.placed(self.table.ids)
