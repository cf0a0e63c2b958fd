"""Crosses: products of two features, for what a linear model cannot say with either of them alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import kernel

from .feature import Feature

CROSSES = (
    ("guest", "popularity"),  # whom nothing is known of
    ("mobile", "popularity"),
    ("from_search", "popularity"),
    ("mobile", "price_session_gap"),
    ("hour_sin", "popularity"),
    ("hour_cos", "popularity"),
    ("local", "popularity"),
    ("session_length", "session_knn_score"),  # neighbours of longer sessions are better ones
    ("session_length", "category_lasting"),  # which long sessions tell better themselves
)


def crossed(features: Mapping[str, Feature]) -> tuple[Feature, ...]:
    """Return the declarations of the crosses: each reads what its two features read, and is as personal as either."""
    return tuple(_product(features[a], features[b]) for a, b in CROSSES)


def _product(a: Feature, b: Feature) -> Feature:
    reads = tuple(dict.fromkeys((*a.reads, *b.reads)))
    order = ("sensitive", "behavioural", "contextual", "catalogue")
    return Feature(f"{a.name}_x_{b.name}", 0.0, "product", reads, min(a.policy, b.policy, key=order.index))


@kernel
def cross(x: NDArray[np.float32], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Write the products of two columns each into the last columns of the feature matrix."""
    first = x.shape[1] - len(left)
    for i in range(len(x)):
        for n in range(len(left)):
            x[i, first + n] = x[i, left[n]] * x[i, right[n]]
