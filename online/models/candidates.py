"""Candidates for ranking, learning side by side from the same examples; the first of them serves.

Each slate is scored by all before any of its rows is learned, so the figures are of rankers that have not seen it. What
is said of a candidate against the active one is a bound that holds whenever one looks (`LowerBound`): a candidate may
be promoted once it is above 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.example import Example
from online.core.features import INDEX, NAMES
from online.core.policy_document import POLICIES
from online.core.ranker import Ranker

from .click_posterior import ClickPosterior
from .examination import Examination, Slots
from .learner import Learner, new_learner
from .lower_bound import LowerBound
from .outcome_heads import OutcomeHeads
from .progress import Progress, Quality, quality
from .river_logistic import LogisticState
from .side_by_side import SIDE_BY_SIDE, side_by_side
from .slate_rows import SlateRows, probabilities, slate_rows

SERVED, POPULARITY, RATE = "served", "popularity", "rate"
"""What candidates are compared with: the utilities the slate was served by, the popularity feature, the click rate."""

ALPHA = 0.05  # chance that any of the candidates is called better while it is not


class CandidatesState(msgspec.Struct):
    """Everything a restart needs; json, so that it survives upgrades."""

    features: list[str]
    learners: dict[str, msgspec.Raw]
    heads: dict[str, LogisticState]
    examination: dict[str, Slots]
    precision: list[list[float]]
    progress: dict[str, Progress]
    gains: dict[str, LowerBound]
    slates: int
    rows: int
    clicks: int
    corrections: int
    active: str = "pointwise-1"  # which served before states said it


class Candidates:
    """Learners of the click, and what they share: examination, what follows a click, how sure the weights are."""

    def __init__(self, names: Sequence[str] = SIDE_BY_SIDE) -> None:
        self.active = names[0]
        self.learners: dict[str, Learner] = {name: new_learner(name) for name in names}
        self.examination = Examination()
        self._heads = OutcomeHeads()
        self._posterior = ClickPosterior(len(NAMES))
        self.progress = {name: Progress() for name in (*names, SERVED, POPULARITY, RATE)}
        alpha = ALPHA / max(len(names) - 1, 1)
        self.gains = {name: LowerBound(alpha) for name in names[1:]}
        self.slates = self.rows = self.clicks = self.corrections = 0

    def learn_one(self, example: Example) -> None:
        """Score all rows of a slate, then learn them; of a correction, learn what it says.

        Raises:
            ValueError: its features are not those of this version, or its parts differ in length; nothing is learned.
        """
        if example.is_correction:
            self._heads.correct_one(slate_rows(example))
            self.corrections += 1
            return
        rows = slate_rows(example)._replace(weights=self.examination.weights(example))
        self._validate(example, rows)
        for learner in self.learners.values():
            learner.learn_one(rows)
        self._heads.learn_one(rows)
        self.examination.learn_one(example)
        self.slates += 1
        self.rows += len(rows.features)
        self.clicks += int(rows.clicked.sum())

    def _validate(self, example: Example, rows: SlateRows) -> None:
        odds = {name: learner.log_odds(rows) for name, learner in self.learners.items()}
        qualities = {name: self._quality(utilities, rows) for name, utilities in odds.items()}
        for name, one in qualities.items():
            self.progress[name].learn_one(one)
        ours = qualities[self.active].ndcg
        for name, gain in self.gains.items():
            theirs = qualities[name].ndcg
            if ours is not None and theirs is not None:
                gain.learn_one(theirs - ours)
        self.progress[POPULARITY].learn_one(self._quality(rows.features[:, INDEX["standing"]], rows))
        rate = (self.clicks + 1.0) / (self.rows + 20.0)
        self.progress[RATE].learn_one(self._quality(np.full(len(rows.clicked), np.log(rate / (1.0 - rate))), rows))
        policy = POLICIES.get(example.policy_id)
        is_learned = policy is None or policy.ranker == "learned"  # older slates do not say it of themselves
        if is_learned and len(example.utilities) == len(rows.clicked):
            self.progress[SERVED].learn_one(self._quality(np.array(example.utilities), rows))
        self._posterior.learn_one(rows.features, probabilities(odds[self.active]))

    def _quality(self, utilities: NDArray[np.float64], rows: SlateRows) -> Quality:
        return quality(utilities, rows.clicked, rows.weights)

    def export(self, version: str) -> Ranker:
        """Return the served form of the active candidate, with the heads and the root of the covariance."""
        return self.exports(version, [self.active])[self.active]

    def exports(self, version: str, names: Sequence[str]) -> dict[str, Ranker]:
        """Return the served forms of some candidates, by name.

        They share the heads, which are of what follows a click, and the root: it is made of the features of rows and of
        chances to be clicked, about which candidates agree far better than about weights.
        """
        root, heads = self._posterior.root(), self._heads.export()
        learned = {name: self.learners[name].export(version) for name in names}
        return {name: replace(ranker, root=root, heads=heads) for name, ranker in learned.items()}

    def summary(self) -> Mapping[str, Any]:
        """Return the figures of the candidates, for the lineage."""
        active = self.progress[self.active]
        return {
            "slates": self.slates,
            "rows": self.rows,
            "clicks": self.clicks,
            "corrections": self.corrections,
            "log_loss": active.log_loss.get(),
            "mean_log_loss": self.progress[RATE].log_loss.get(),
            "active": self.active,
            "candidates": {name: self._figures(name) for name in self.learners},
            "baselines": {name: self.progress[name].figures() for name in (SERVED, POPULARITY, RATE)},
        }

    def _figures(self, name: str) -> dict[str, Any]:
        figures: dict[str, Any] = self.progress[name].figures()
        gain = self.gains.get(name)
        if gain is not None:
            figures |= {
                "ndcg_gain": gain.mean,
                "ndcg_gain_lower": gain.get(),
                "alpha": gain.alpha,
                "compared": gain.n,
                "promotable": gain.get() > 0.0,
            }
        return figures

    def state(self) -> bytes:
        """Return everything a restart needs."""
        return msgspec.json.encode(
            CandidatesState(
                features=list(NAMES),
                learners={name: msgspec.Raw(learner.state()) for name, learner in self.learners.items()},
                heads=self._heads.state(),
                examination=self.examination.state(),
                precision=self._posterior.precision.tolist(),
                progress=self.progress,
                gains=self.gains,
                slates=self.slates,
                rows=self.rows,
                clicks=self.clicks,
                corrections=self.corrections,
                active=self.active,
            )
        )

    @classmethod
    def from_state(cls, payload: bytes, names: Sequence[str] = ()) -> Self:
        """Return the candidates of a state; they go on as if they had never stopped, the same one serving.

        One that is new since starts from its prior, with nothing said of it. `names` says otherwise which there are,
        the first of them serving: what was said of the others against another one is forgotten.
        """
        kept = msgspec.json.decode(payload, type=CandidatesState)
        names = names or side_by_side(kept.active)
        candidates = cls(names)
        for name in names:
            if name in kept.learners:
                candidates.learners[name] = new_learner(name, bytes(kept.learners[name]))
        candidates.examination = Examination(kept.examination)
        candidates._heads = OutcomeHeads(kept.heads)
        if kept.features == list(NAMES):
            candidates._posterior = ClickPosterior(len(NAMES), np.array(kept.precision))
        candidates.progress |= {name: one for name, one in kept.progress.items() if name in candidates.progress}
        if candidates.active == kept.active:
            candidates.gains |= {name: one for name, one in kept.gains.items() if name in candidates.gains}
        candidates.slates, candidates.rows = kept.slates, kept.rows
        candidates.clicks, candidates.corrections = kept.clicks, kept.corrections
        return candidates
