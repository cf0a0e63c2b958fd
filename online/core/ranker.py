"""The served ranker: exported weights of the learners, scored in matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .features import COLUMNS, NAMES, PRIOR, PRIOR_INTERCEPT
from .value import Value, value_utilities

Floats = NDArray[np.float64]

CROSSED = NAMES[COLUMNS["source"]]
"""Features that weigh differently by surface: how much each source is worth, learned from what it led to there."""


class Head(NamedTuple):
    """The log-odds of an outcome given a click: weights · features + intercept."""

    weights: Floats  # (len(FEATURES),)
    intercept: float


@dataclass(frozen=True, slots=True)
class Ranker:
    """A linear ranker; utilities are log-odds of the expected share of the value at the first slot.

    `weights` and `intercept` are of the click, `crosses` are added to the weights on a surface, `heads` are of a cart
    and a purchase given the click. `root` is the lower-triangular root of the covariance of the click's weights, where
    the learner keeps one.
    """

    version: str
    weights: Floats  # (len(FEATURES),)
    intercept: float
    root: Floats | None = None  # (len(FEATURES), len(FEATURES))
    crosses: Mapping[str, Floats] = field(default_factory=dict)  # surface -> (len(FEATURES),)
    heads: Mapping[str, Head] = field(default_factory=dict)  # "cart", "purchase"

    def weights_on(self, surface: str) -> Floats:
        """Return the click's weights on a surface (len(FEATURES),)."""
        cross = self.crosses.get(surface)
        return self.weights if cross is None else self.weights + cross

    def utilities(self, features: NDArray[np.float32], surface: str = "", value: Value | None = None) -> Floats:
        """Return the utilities (c,) of a feature matrix (c, len(FEATURES))."""
        x = features.astype(np.float64)
        clicks: Floats = x @ self.weights_on(surface) + self.intercept
        following = {name: x @ head.weights + head.intercept for name, head in self.heads.items()}
        return value_utilities(clicks, following, value or Value())


PRIOR_RANKER = Ranker("prior", PRIOR, PRIOR_INTERCEPT)


class HeadDocument(msgspec.Struct):
    """The exported form of a head: a named weight per feature."""

    weights: dict[str, float]
    intercept: float


class RankerDocument(msgspec.Struct):
    """The exported form of a ranker: a named weight per feature; `feature@surface` is added on that surface."""

    weights: dict[str, float]
    intercept: float
    heads: dict[str, HeadDocument] = {}


def read_ranker(payload: bytes, version: str, root: Floats | None = None) -> Ranker:
    """Return the ranker of an exported document; features it does not name weigh nothing.

    Args:
        payload: the document.
        version: to tell it by.
        root: of the covariance of its weights, in the order of this code's features.

    Raises:
        ValueError: it names a feature or an outcome this code does not know, or the root is not of its weights: it must
            not be served.
        msgspec.MsgspecError: not a ranker document.

    >>> read_ranker(b'{"weights": {"session_knn_score": 2.0}, "intercept": -1.0}', "7").weights[0]
    np.float64(2.0)
    >>> ranker = read_ranker(b'{"weights": {"popularity": 1, "popular_rank@home": 2}, "intercept": 0}', "8")
    >>> ranker.weights_on("home").sum(), ranker.weights_on("item").sum()
    (np.float64(3.0), np.float64(1.0))
    """
    document = msgspec.json.decode(payload, type=RankerDocument)
    plain = {name: weight for name, weight in document.weights.items() if "@" not in name}
    crosses: dict[str, dict[str, float]] = {}
    for name, weight in document.weights.items():
        feature, at, surface = name.partition("@")
        if at:
            crosses.setdefault(surface, {})[feature] = weight
    heads = {name: (head.weights, head.intercept) for name, head in document.heads.items()}
    named = [plain, *crosses.values(), *(weights for weights, _ in heads.values())]
    unknown = sorted({name for weights in named for name in weights} - set(NAMES))
    if unknown:
        msg = f"ranker {version} needs features this process does not compute: {', '.join(unknown)}"
        raise ValueError(msg)
    if strange := sorted(set(heads) - {"cart", "purchase"}):
        msg = f"ranker {version} has heads this process does not value: {', '.join(strange)}"
        raise ValueError(msg)
    if root is not None and root.shape != (len(NAMES), len(NAMES)):
        msg = f"the covariance of ranker {version} is of {root.shape[0]} features, not of {len(NAMES)}"
        raise ValueError(msg)
    return Ranker(
        version,
        _vector(plain),
        document.intercept,
        root,
        {surface: _vector(weights) for surface, weights in crosses.items()},
        {name: Head(_vector(weights), intercept) for name, (weights, intercept) in heads.items()},
    )


def write_ranker(ranker: Ranker) -> bytes:
    """Return the exported document of a ranker; its root is a matrix and travels beside it."""
    weights = _named(ranker.weights)
    for surface, cross in ranker.crosses.items():
        weights |= {f"{name}@{surface}": weight for name, weight in _named(cross).items() if weight}
    heads = {name: HeadDocument(_named(head.weights), head.intercept) for name, head in ranker.heads.items()}
    return msgspec.json.encode(RankerDocument(weights, ranker.intercept, heads))


def largest_difference(one: Ranker, other: Ranker) -> float:
    """Return by how much any weight or intercept of two rankers differs at most; infinite when one has it alone.

    >>> largest_difference(PRIOR_RANKER, Ranker("1", PRIOR, PRIOR_INTERCEPT + 0.5))
    0.5
    """
    if one.crosses.keys() != other.crosses.keys() or one.heads.keys() != other.heads.keys():
        return float("inf")
    pairs: list[tuple[Floats | float, Floats | float]] = [
        (one.weights, other.weights),
        (one.intercept, other.intercept),
        *((one.crosses[surface], other.crosses[surface]) for surface in one.crosses),
    ]
    for name, head in one.heads.items():
        pairs += zip(head, other.heads[name], strict=True)
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)


def _vector(weights: Mapping[str, float]) -> Floats:
    return np.array([weights.get(name, 0.0) for name in NAMES])


def _named(weights: Floats) -> dict[str, float]:
    return dict(zip(NAMES, weights.tolist(), strict=True))
