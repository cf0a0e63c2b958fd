"""River's logistic regression with AdaGrad as our learners use it: from given weights on, and kept as plain values."""

from __future__ import annotations

from typing import Any

import msgspec
from river import linear_model, optim
from river.utils import VectorDict


class LogisticState(msgspec.Struct):
    """Everything a restart needs; json, so that it survives upgrades."""

    weights: dict[str, float]
    intercept: float
    squared_gradients: dict[str, float]
    iterations: int


def new_logistic(start: LogisticState, *, learning_rate: float, intercept_rate: float, l2: float) -> Any:
    """Return a model that goes on from a state; River types it loosely.

    Source of AdaGrad: Duchi, Hazan, Singer, JMLR 2011.

    >>> start = LogisticState({"x": 2.0}, -1.0, {}, 0)
    >>> model = new_logistic(start, learning_rate=0.1, intercept_rate=0.1, l2=0.0)
    >>> state_of(model) == start, round(model.predict_proba_one({"x": 0.5})[True], 3)
    (True, 0.5)
    """
    model: Any = linear_model.LogisticRegression(
        optimizer=optim.AdaGrad(learning_rate), l2=l2, intercept_init=start.intercept, intercept_lr=intercept_rate
    )
    # River has no public way to start from given weights; its version is pinned for this line.
    model._weights = VectorDict(start.weights)
    model.optimizer.g2.update(start.squared_gradients)
    model.optimizer.n_iterations = start.iterations
    return model


def state_of(model: Any) -> LogisticState:
    """Return what `new_logistic` goes on from."""
    return LogisticState(
        dict(model.weights), float(model.intercept), dict(model.optimizer.g2), model.optimizer.n_iterations
    )
