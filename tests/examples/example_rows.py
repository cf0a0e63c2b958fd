"""Examples of clicked slates for the tests of learners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.core.example import Example
from online.core.features import INDEX, NAMES, position_feature


def clicked_example(
    features: NDArray[np.float32], clicked: list[bool], number: int = 0, surface: str = "home"
) -> Example:
    """Return an example of these rows, all of which were seen."""
    n = len(clicked)
    return Example(
        f"r{number}", 0, surface, 0.0, "", list(NAMES), features.tobytes(), list(range(1, n + 1)), clicked
    )  # fmt: skip


def planted_examples(
    n: int, *, taste: str = "brand_lasting", seed: int = 8, rows: int = 8, surface: str = "home"
) -> list[Example]:
    """Slates in which only one feature, and the position, make clicks likely."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        features = rng.random((rows, len(NAMES)), np.float32)
        examination = np.array([position_feature(p) for p in range(1, rows + 1)])
        odds = 6.0 * features[:, INDEX[taste]] - 4.0 + 2.0 * examination
        clicked = rng.random(rows) < 1 / (1 + np.exp(-odds))
        made.append(clicked_example(features, clicked.tolist(), number, surface))
    return made
