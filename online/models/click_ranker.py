"""The pointwise ranker: River's logistic regression on the rows of slates, exported for serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.features import NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.ranker import CROSSED, Ranker

from .river_logistic import LogisticState, new_logistic, state_of
from .slate_rows import SlateRows

MAX_SURFACES = 32  # with weights of their own for sources; clients choose the names


@dataclass(frozen=True, slots=True)
class ClickRankerConfig:
    """AdaGrad's learning rate (Duchi, Hazan, Singer, JMLR 2011), the intercept's, and the L2 weight."""

    learning_rate: float = 0.05
    intercept_rate: float = 0.02
    l2: float = 1e-5


class ClickRankerState(LogisticState):
    """Everything a restart needs."""

    surfaces: list[str] = []


class ClickRanker:
    """Predicts clicks from features; the position feature takes the slot's share of the effect.

    A feature of a source comes twice, the second time named `feature@surface`: that weight is what the source is worth
    there beyond what it is worth everywhere.
    """

    def __init__(self, config: ClickRankerConfig | None = None, kept: ClickRankerState | None = None) -> None:
        self.config = config or ClickRankerConfig()
        kept = kept or ClickRankerState({}, PRIOR_INTERCEPT, {}, 0)
        prior = dict(zip(NAMES, PRIOR.tolist(), strict=True))
        self._surfaces = kept.surfaces
        self._model = new_logistic(
            LogisticState(
                prior | _known(kept.weights), kept.intercept, _known(kept.squared_gradients), kept.iterations
            ),
            learning_rate=self.config.learning_rate,
            intercept_rate=self.config.intercept_rate,
            l2=self.config.l2,
        )

    def predict_one(self, features: dict[str, float]) -> float:
        """Return the probability of a click; changes nothing."""
        return float(self._model.predict_proba_one(features)[True])

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
        logistic = msgspec.structs.asdict(state_of(self._model))
        return msgspec.json.encode(ClickRankerState(**logistic, surfaces=self._surfaces))

    @classmethod
    def from_state(cls, payload: bytes, config: ClickRankerConfig | None = None) -> Self:
        """Return the learner of a state; it goes on as if it had never stopped.

        Features that are new since start from their prior, those that are gone are forgotten.
        """
        return cls(config, msgspec.json.decode(payload, type=ClickRankerState))


_CROSSED = [NAMES.index(name) for name in CROSSED]


def _known(values: dict[str, float]) -> dict[str, float]:
    names = set(NAMES)
    return {name: value for name, value in values.items() if name.partition("@")[0] in names}
