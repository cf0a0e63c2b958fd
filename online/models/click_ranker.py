"""The pointwise ranker: River's logistic regression on the rows of slates, exported for serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray
from river import linear_model, optim
from river.utils import VectorDict

from online.core.features import NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.ranker import CROSSED, Ranker

from .slate_rows import SlateRows

MAX_SURFACES = 32  # with weights of their own for sources; clients choose the names


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
    surfaces: list[str] = []


class ClickRanker:
    """Predicts clicks from features; the position feature takes the slot's share of the effect.

    A feature of a source comes twice, the second time named `feature@surface`: that weight is what the source is worth
    there beyond what it is worth everywhere.
    """

    def __init__(self, config: ClickRankerConfig | None = None) -> None:
        self.config = config or ClickRankerConfig()
        self._model = linear_model.LogisticRegression(
            optimizer=optim.AdaGrad(self.config.learning_rate),
            l2=self.config.l2,
            intercept_init=PRIOR_INTERCEPT,
            intercept_lr=self.config.intercept_rate,
        )
        self._surfaces: list[str] = []
        self._restore({})

    def _restore(self, weights: dict[str, float]) -> None:
        # River has no public way to start from given weights; its version is pinned for this line.
        self._model._weights = VectorDict(dict(zip(NAMES, PRIOR.tolist(), strict=True)) | weights)

    def predict_one(self, features: dict[str, float]) -> float:
        """Return the probability of a click; changes nothing."""
        model: Any = self._model
        return float(model.predict_proba_one(features)[True])

    def log_odds(self, rows: SlateRows) -> NDArray[np.float64]:
        """Return what it expects of each row (n,), in its slot; changes nothing."""
        weights = self._vector()
        if rows.surface in self._surfaces:
            weights += self._vector(f"@{rows.surface}")
        odds: NDArray[np.float64] = rows.features @ weights + float(self._model.intercept)
        return odds

    def learn_one(self, rows: SlateRows) -> None:
        """Absorb one slate."""
        names = list(NAMES)
        values = rows.features
        if self._knows(rows.surface):
            names += [f"{name}@{rows.surface}" for name in CROSSED]
            values = np.concatenate([values, values[:, _CROSSED]], axis=1)
        for row, clicked, weight in zip(values.tolist(), rows.clicked.tolist(), rows.weights.tolist(), strict=True):
            self._model.learn_one(dict(zip(names, row, strict=True)), clicked, w=weight)

    def _knows(self, surface: str) -> bool:
        if surface in self._surfaces:
            return True
        if len(self._surfaces) < MAX_SURFACES:
            self._surfaces.append(surface)
            return True
        return False

    def export(self, version: str) -> Ranker:
        """Return the served form of the weights so far."""
        crosses = {surface: self._vector(f"@{surface}") for surface in self._surfaces}
        return Ranker(version, self._vector(), float(self._model.intercept), crosses=crosses)

    def _vector(self, suffix: str = "") -> NDArray[np.float64]:
        weights = self._model.weights
        return np.array([weights.get(name + suffix, 0.0) for name in NAMES])

    def state(self) -> bytes:
        """Return everything a restart needs."""
        optimizer: Any = self._model.optimizer
        return msgspec.json.encode(
            ClickRankerState(
                weights=dict(self._model.weights),
                intercept=float(self._model.intercept),
                squared_gradients=dict(optimizer.g2),
                iterations=optimizer.n_iterations,
                surfaces=self._surfaces,
            )
        )

    @classmethod
    def from_state(cls, payload: bytes, config: ClickRankerConfig | None = None) -> Self:
        """Return the learner of a state; it goes on as if it had never stopped.

        Features that are new since start from their prior, those that are gone are forgotten.
        """
        kept = msgspec.json.decode(payload, type=ClickRankerState)
        ranker = cls(config)
        ranker._surfaces = kept.surfaces
        ranker._restore(_known(kept.weights))
        ranker._model.intercept = kept.intercept
        optimizer: Any = ranker._model.optimizer
        optimizer.g2.update(_known(kept.squared_gradients))
        optimizer.n_iterations = kept.iterations
        return ranker


_CROSSED = [NAMES.index(name) for name in CROSSED]


def _known(values: dict[str, float]) -> dict[str, float]:
    names = set(NAMES)
    return {name: value for name, value in values.items() if name.partition("@")[0] in names}
