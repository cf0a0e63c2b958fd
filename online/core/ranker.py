"""The served ranker: exported weights of the learner, scored in one matrix product."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from .features import NAMES, PRIOR, PRIOR_INTERCEPT


@dataclass(frozen=True, slots=True)
class Ranker:
    """A logistic ranker: utility = weights · features + intercept, in log-odds of a click at the first slot.

    `root` is the lower-triangular root of the weights' posterior covariance, where the learner keeps one.
    """

    version: str
    weights: NDArray[np.float64]  # (len(FEATURES),)
    intercept: float
    root: NDArray[np.float64] | None = None  # (len(FEATURES), len(FEATURES))

    def utilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the utilities (c,) of a feature matrix (c, len(FEATURES))."""
        return features.astype(np.float64) @ self.weights + self.intercept


PRIOR_RANKER = Ranker("prior", PRIOR, PRIOR_INTERCEPT)


class RankerDocument(msgspec.Struct):
    """The exported form of a ranker: a named weight per feature."""

    weights: dict[str, float]
    intercept: float


def read_ranker(payload: bytes, version: str) -> Ranker:
    """Return the ranker of an exported document; features it does not name weigh nothing.

    Raises:
        ValueError: the document names a feature this code does not compute: it must not be served.
        msgspec.MsgspecError: not a ranker document.

    >>> read_ranker(b'{"weights": {"session_knn_score": 2.0}, "intercept": -1.0}', "7").weights[0]
    np.float64(2.0)
    """
    document = msgspec.json.decode(payload, type=RankerDocument)
    unknown = sorted(set(document.weights) - set(NAMES))
    if unknown:
        msg = f"ranker {version} needs features this process does not compute: {', '.join(unknown)}"
        raise ValueError(msg)
    return Ranker(version, np.array([document.weights.get(n, 0.0) for n in NAMES]), document.intercept)


def write_ranker(ranker: Ranker) -> bytes:
    """Return the exported document of a ranker."""
    weights = dict(zip(NAMES, ranker.weights.tolist(), strict=True))
    return msgspec.json.encode(RankerDocument(weights, ranker.intercept))
