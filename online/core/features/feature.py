"""What a feature is: the declaration that each of them is made with, once, beside the code that computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .scene import Scene

State = Literal["request", "record", "items", "catalogue", "sessions", "blend", "vectors"]
"""What a feature reads: the request and its moment, the user record, item aggregates, the catalogue, the session index
with its rules, the weights that blend both, or item vectors. A slate logs the position or version of each, and all of
them decay to the slate's moment."""

Kind = Literal["share", "log_share", "log_ratio", "cosine", "reciprocal", "fade", "flag", "log", "cycle", "product"]
"""The type of a value: a share of a whole or of the best (also below 0), a logarithmic one, the logarithm of a
quotient, a cosine, one through a rank, one that halves with age, 0 and 1, the logarithm of a number plus one, sine and
cosine of a cycle, or the product of two features."""

PolicyClass = Literal["behavioural", "catalogue", "contextual", "sensitive"]
"""What a value says of a person: what they did, nothing, in what situation they ask, or what must be asked for."""


class Feature(NamedTuple):
    """A feature and the weight it has in the ranker before anything is learned."""

    name: str
    prior: float
    kind: Kind
    reads: tuple[State, ...]
    policy: PolicyClass


class Group(NamedTuple):
    """Features that are computed together: `fill` writes the columns of (c, len(features)), in their order."""

    name: str
    features: tuple[Feature, ...]
    fill: Callable[[NDArray[np.float32], Scene], None]
