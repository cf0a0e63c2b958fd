"""The click ranker: River's logistic regression, learning slates as their windows close, exported for serving."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import msgspec
import numpy as np
from river import linear_model, optim
from river.utils import VectorDict

from online.core.example import Example
from online.core.features import INDEX, NAMES, PRIOR, PRIOR_INTERCEPT, position_feature
from online.core.ranker import Ranker

METRIC_MEMORY = 0.999  # share of the old mean kept by the progressive log-losses at each row


@dataclass(frozen=True, slots=True)
class ClickRankerConfig:
    """AdaGrad's learning rate (Duchi, Hazan, Singer, JMLR 2011), the intercept's, and the L2 weight."""

    learning_rate: float = 0.05
    intercept_rate: float = 0.02
    l2: float = 1e-5


class ClickRankerState(msgspec.Struct):
    """Everything a restart needs; json, so that it survives upgrades."""

    weights: dict[str, float]
    intercept: float
    squared_gradients: dict[str, float]
    iterations: int
    slates: int
    rows: int
    clicks: int
    log_loss: float | None
    mean_log_loss: float | None


class ClickRanker:
    """Predicts clicks from features; the position feature takes the slot's share of the effect.

    Progressive validation: each slate is scored before any of its rows is learned; `log_loss` is the decayed mean of
    the row losses, `mean_log_loss` that of always predicting the click rate so far.
    """

    def __init__(self, config: ClickRankerConfig | None = None) -> None:
        self.config = config or ClickRankerConfig()
        self._model = linear_model.LogisticRegression(
            optimizer=optim.AdaGrad(self.config.learning_rate),
            l2=self.config.l2,
            intercept_init=PRIOR_INTERCEPT,
            intercept_lr=self.config.intercept_rate,
        )
        self._restore(dict(zip(NAMES, PRIOR.tolist(), strict=True)))
        self.slates = self.rows = self.clicks = 0
        self.log_loss: float | None = None
        self.mean_log_loss: float | None = None

    def _restore(self, weights: dict[str, float]) -> None:
        # River has no public way to start from given weights; its version is pinned for this line.
        self._model._weights = VectorDict(weights)

    def predict_one(self, features: dict[str, float]) -> float:
        """Return the probability of a click; changes nothing."""
        model: Any = self._model
        return float(model.predict_proba_one(features)[True])

    def learn_one(self, example: Example) -> None:
        """Absorb one slate: score all its rows, then learn them.

        Raises:
            ValueError: its features are not those of this version, or its parts differ in length; nothing is learned.
        """
        if example.is_correction:
            return  # what followed a click is no other click
        if example.feature_names != list(NAMES):
            msg = f"example {example.recommendation_id} has other features than this ranker"
            raise ValueError(msg)
        matrix = np.frombuffer(example.features, np.float32).reshape(-1, len(NAMES)).copy()
        if not len(matrix) == len(example.positions) == len(example.clicked):
            msg = f"example {example.recommendation_id} has rows without position or label"
            raise ValueError(msg)
        matrix[:, INDEX["position"]] = [position_feature(p) for p in example.positions]
        rows = [dict(zip(NAMES, row, strict=True)) for row in matrix.tolist()]
        for row, clicked in zip(rows, example.clicked, strict=True):
            self._validate(self.predict_one(row), clicked)
        for row, clicked in zip(rows, example.clicked, strict=True):
            self._model.learn_one(row, clicked)
        self.slates += 1
        self.rows += len(rows)
        self.clicks += sum(example.clicked)

    def _validate(self, probability: float, clicked: bool) -> None:
        rate = (self.clicks + 1.0) / (self.rows + 20.0)
        self.log_loss = _averaged(self.log_loss, _log_loss(probability, clicked))
        self.mean_log_loss = _averaged(self.mean_log_loss, _log_loss(rate, clicked))

    def export(self, version: str) -> Ranker:
        """Return the served form of the weights so far."""
        weights = self._model.weights
        return Ranker(version, np.array([weights.get(n, 0.0) for n in NAMES]), float(self._model.intercept))

    def state(self) -> bytes:
        """Return everything a restart needs."""
        optimizer: Any = self._model.optimizer
        return msgspec.json.encode(
            ClickRankerState(
                weights=dict(self._model.weights),
                intercept=float(self._model.intercept),
                squared_gradients=dict(optimizer.g2),
                iterations=optimizer.n_iterations,
                slates=self.slates,
                rows=self.rows,
                clicks=self.clicks,
                log_loss=self.log_loss,
                mean_log_loss=self.mean_log_loss,
            )
        )

    @classmethod
    def from_state(cls, payload: bytes, config: ClickRankerConfig | None = None) -> Self:
        """Return the learner of a state; it goes on as if it had never stopped."""
        kept = msgspec.json.decode(payload, type=ClickRankerState)
        ranker = cls(config)
        ranker._restore(kept.weights)
        ranker._model.intercept = kept.intercept
        optimizer: Any = ranker._model.optimizer
        optimizer.g2.update(kept.squared_gradients)
        optimizer.n_iterations = kept.iterations
        ranker.slates, ranker.rows, ranker.clicks = kept.slates, kept.rows, kept.clicks
        ranker.log_loss, ranker.mean_log_loss = kept.log_loss, kept.mean_log_loss
        return ranker


def _averaged(mean: float | None, value: float) -> float:
    return value if mean is None else METRIC_MEMORY * mean + (1.0 - METRIC_MEMORY) * value


def _log_loss(probability: float, clicked: bool) -> float:
    p = min(max(probability, 1e-9), 1.0 - 1e-9)
    return -math.log(p if clicked else 1.0 - p)
