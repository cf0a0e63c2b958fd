"""What a click leads to: the chance of a cart and of a purchase given the click, each River's logistic regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from river import linear_model, optim
from river.utils import VectorDict

from online.core.example import CART, PURCHASE
from online.core.features import INDEX, NAMES
from online.core.ranker import Head

from .slate_rows import SlateRows

OUTCOMES = {"cart": (CART, -1.0), "purchase": (PURCHASE, -2.0)}
"""Head -> the outcome, and its log-odds before anything is learned."""

LEARNING_RATE, INTERCEPT_RATE, L2 = 0.05, 0.01, 1e-4


class HeadState(msgspec.Struct):
    """Everything a restart needs of one head."""

    weights: dict[str, float]
    intercept: float
    squared_gradients: dict[str, float]
    iterations: int


class OutcomeHeads:
    """Learns clicked rows only: where an item was shown has done its part once it is clicked.

    A row whose outcome comes late was learned as one without; its correction is learned as one with. Of rows that rare
    outcomes follow, that biases the chance p to p / (1 + p) at most (Ktena et al., RecSys 2019, section 4.1).
    """

    def __init__(self, kept: Mapping[str, HeadState] | None = None) -> None:
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

    def state(self) -> dict[str, HeadState]:
        """Return everything a restart needs."""
        return {
            name: HeadState(
                dict(model.weights), float(model.intercept), dict(model.optimizer.g2), model.optimizer.n_iterations
            )
            for name, model in self._models.items()
        }


def _dicts(rows: SlateRows, *, every: bool = False) -> list[dict[str, float]]:
    features = rows.features if every else rows.features[rows.clicked]
    features = np.delete(features, INDEX["position"], axis=1)
    names = [name for name in NAMES if name != "position"]
    return [dict(zip(names, row, strict=True)) for row in features.tolist()]


def _model(intercept: float, kept: HeadState | None) -> Any:
    model: Any = linear_model.LogisticRegression(
        optimizer=optim.AdaGrad(LEARNING_RATE), l2=L2, intercept_init=intercept, intercept_lr=INTERCEPT_RATE
    )
    if kept is not None:
        model._weights = VectorDict({n: w for n, w in kept.weights.items() if n in INDEX})
        model.intercept = kept.intercept
        model.optimizer.g2.update({n: g for n, g in kept.squared_gradients.items() if n in INDEX})
        model.optimizer.n_iterations = kept.iterations
    return model
