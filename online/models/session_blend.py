"""The session blend: how much each source of a candidate counts for the next click, learned click by click.

A conditional logit (McFadden 1974; the listwise softmax of Cao et al., "Learning to Rank: From Pairwise Approach to
Listwise Approach", ICML 2007): the probability that a candidate is clicked next is the softmax of its utility, and
each click is one step of AdaGrad (Duchi, Hazan, Singer, JMLR 2011) on its log-likelihood. Weights are shared by all
sessions, plus a share of their own for sessions of one, two, three or four, and more items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.models.session_candidates import FEATURES

LENGTHS = (2, 3, 5)  # distinct items from which on a session is of the next group
PRIOR = {"knn": 0.3, "knn_rank": 0.3, "after_last": 0.2, "before_last": 0.15, "two_hops": 0.4, "sessions": -0.1}
ADDED = {"knn_next_of_two", "is_last_again", "in_session_again"}  # features that the first documents lack
BLEND_FILE = "blend.json"
OPINION_CLICKS = 1000  # after so many, an opinion formed before any of them is worth half
_METRIC_MEMORY = 0.999


@dataclass(frozen=True, slots=True)
class SessionBlendConfig:
    """The rate of AdaGrad's first steps, and whether the item a session is at may be next."""

    learning_rate: float = 0.1
    repeats: bool = False


class BlendDocument(msgspec.Struct):
    """The blend as json: per feature the shared weight and those of the groups, and what a restart needs."""

    weights: dict[str, list[float]]
    squared_gradients: dict[str, list[float]]
    clicks: int
    log_loss: float | None


class SessionBlend:
    """Learns from the candidates of a session which one was next.

    >>> blend = SessionBlend(SessionBlendConfig())
    >>> x = np.eye(2, len(FEATURES))  # the first candidate has votes of neighbours, the second a high rank by them
    >>> before = blend.utilities(x, length=1)
    >>> for _ in range(20):
    ...     blend.learn_one(x, 1, length=1)
    >>> after = blend.utilities(x, length=1)
    >>> bool(after[1] - after[0] > before[1] - before[0])
    True
    """

    def __init__(self, config: SessionBlendConfig) -> None:
        self.config = config
        self.weights = np.zeros((len(LENGTHS) + 2, len(FEATURES)))
        self.weights[0] = [PRIOR.get(name, 0.0) for name in FEATURES]
        self._squares = np.full_like(self.weights, 0.01)
        self.clicks = 0
        self.log_loss: float | None = None

    def utilities(self, features: NDArray[np.float64], length: int) -> NDArray[np.float64]:
        """Return the candidates' utilities (c,), given how many distinct items the session has."""
        utilities: NDArray[np.float64] = features @ self.weights_for(length)
        return utilities

    def weights_for(self, length: int) -> NDArray[np.float64]:
        """Return the weights of the features for a session of so many distinct items."""
        weights: NDArray[np.float64] = self.weights[0] + self.weights[_group(length)]
        return weights

    @property
    def untaught(self) -> float:
        """Return what an opinion formed before any click is still worth: 1 at first, towards 0.

        >>> SessionBlend(SessionBlendConfig()).untaught
        1.0
        """
        return OPINION_CLICKS / (OPINION_CLICKS + self.clicks)

    def learn_one(self, features: NDArray[np.float64], clicked: int, length: int) -> None:
        """Absorb that candidate `clicked` was next."""
        utilities = self.utilities(features, length)
        likelihoods = np.exp(utilities - utilities.max())
        likelihoods /= likelihoods.sum()
        loss = -float(np.log(max(likelihoods[clicked], 1e-300)))
        gradient = features[clicked] - likelihoods @ features
        for group in (0, _group(length)):
            self._squares[group] += gradient**2
            self.weights[group] += self.config.learning_rate * gradient / np.sqrt(self._squares[group])
        self.log_loss = loss if self.log_loss is None else _METRIC_MEMORY * (self.log_loss - loss) + loss
        self.clicks += 1

    def copy(self) -> Self:
        """Return a blend that learns on apart from this one."""
        return type(self).from_state(self.state(), self.config)

    def state(self) -> bytes:
        """Return weights and all a restart needs."""
        weights = dict(zip(FEATURES, self.weights.T.tolist(), strict=True))
        squares = dict(zip(FEATURES, self._squares.T.tolist(), strict=True))
        return msgspec.json.encode(BlendDocument(weights, squares, self.clicks, self.log_loss))

    @classmethod
    def from_state(cls, payload: bytes, config: SessionBlendConfig | None = None) -> Self:
        """Return the blend of a state; it goes on as if it had never stopped, with new features at their prior.

        Raises:
            ValueError: the document names other features than this code computes, or other groups of sessions.
            msgspec.MsgspecError: not such a document.
        """
        document = msgspec.json.decode(payload, type=BlendDocument)
        blend = cls(config or SessionBlendConfig())
        for array, named in ((blend.weights, document.weights), (blend._squares, document.squared_gradients)):
            is_complete = set(FEATURES) - ADDED <= set(named) <= set(FEATURES)
            if not is_complete or any(len(column) != len(array) for column in named.values()):
                msg = f"a session blend of other features or groups than this process has: {', '.join(sorted(named))}"
                raise ValueError(msg)
            for name, column in named.items():
                array[:, FEATURES.index(name)] = column
        if not np.isfinite(blend.weights).all():
            raise ValueError("a session blend has weights that are not finite")
        blend.clicks, blend.log_loss = document.clicks, document.log_loss
        return blend


def _group(length: int) -> int:
    return 1 + sum(length >= least for least in LENGTHS)
