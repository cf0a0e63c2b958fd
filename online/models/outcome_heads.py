"""What a click leads to: the chance of a cart and of a purchase given the click, each River's logistic regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from online.core.example import CART, PURCHASE
from online.core.features import INDEX, NAMES
from online.core.ranker import Head

from .river_logistic import LogisticState, new_logistic, state_of
from .slate_rows import SlateRows

OUTCOMES = {"cart": (CART, -1.0), "purchase": (PURCHASE, -2.0)}
"""Head -> the outcome, and its log-odds before anything is learned."""

LEARNING_RATE, INTERCEPT_RATE, L2 = 0.05, 0.01, 1e-4


class OutcomeHeads:
    """Learns clicked rows only: where an item was shown has done its part once it is clicked.

    A row whose outcome comes late was learned as one without; its correction is learned as one with. Of rows that rare
    outcomes follow, that biases the chance p to p / (1 + p) at most (Ktena et al., RecSys 2019, section 4.1).
    """

    def __init__(self, kept: Mapping[str, LogisticState] | None = None) -> None:
        self._models = {name: _model(intercept, (kept or {}).get(name)) for name, (_, intercept) in OUTCOMES.items()}

    def learn_one(self, rows: SlateRows) -> None:
        """Absorb the clicked rows of a slate."""
        for row, outcomes in zip(_dicts(rows), rows.outcomes[rows.clicked].tolist(), strict=True):
            for name, (outcome, _) in OUTCOMES.items():
                self._models[name].learn_one(row, bool(outcomes & outcome))

    def correct_one(self, rows: SlateRows) -> None:
        """Absorb rows of which nothing is news but the outcomes they have."""
        for row, outcomes in zip(_dicts(rows, every=True), rows.outcomes.tolist(), strict=True):
            for name, (outcome, _) in OUTCOMES.items():
                if outcomes & outcome:
                    self._models[name].learn_one(row, True)

    def export(self) -> dict[str, Head]:
        """Return the served form of the heads."""
        return {
            name: Head(np.array([model.weights.get(n, 0.0) for n in NAMES]), float(model.intercept))
            for name, model in self._models.items()
        }

    def state(self) -> dict[str, LogisticState]:
        """Return everything a restart needs."""
        return {name: state_of(model) for name, model in self._models.items()}


def _dicts(rows: SlateRows, *, every: bool = False) -> list[dict[str, float]]:
    features = rows.features if every else rows.features[rows.clicked]
    features = np.delete(features, INDEX["position"], axis=1)
    names = [name for name in NAMES if name != "position"]
    return [dict(zip(names, row, strict=True)) for row in features.tolist()]


def _model(intercept: float, kept: LogisticState | None) -> Any:
    kept = kept or LogisticState({}, intercept, {}, 0)
    start = LogisticState(_known(kept.weights), kept.intercept, _known(kept.squared_gradients), kept.iterations)
    return new_logistic(start, learning_rate=LEARNING_RATE, intercept_rate=INTERCEPT_RATE, l2=L2)


def _known(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name in INDEX}
