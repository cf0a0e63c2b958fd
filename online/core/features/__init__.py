"""Ranking features. Each is declared once, in the file of its group, beside the code that computes it.

To add one, append its `Feature` to the group's `FEATURES` and fill its column there. A slate logs names and values, so
columns may move, but a name keeps its meaning for ever.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from .affinity import AFFINITY
from .caller import CALLER
from .context import CONTEXT
from .cross import CROSSES, cross, crossed
from .feature import Feature, Group
from .item import ITEM
from .position import POSITION, REFERENCE_POSITION, position_feature
from .price import PRICE
from .scene import Retrieved, Scene
from .session import SESSION
from .source import SOURCE
from .touch import TOUCH

__all__ = [
    "COLUMNS", "CROSSES", "FEATURES", "GROUPS", "INDEX", "NAMES", "PRIOR", "PRIOR_INTERCEPT",
    "REFERENCE_POSITION", "Feature", "Group", "Retrieved", "Scene", "gather", "position_feature",
]  # fmt: skip

GROUPS: tuple[Group, ...] = (SOURCE, AFFINITY, ITEM, SESSION, PRICE, CONTEXT, TOUCH, CALLER, POSITION)
_PLAIN = tuple(feature for group in GROUPS for feature in group.features)
FEATURES = _PLAIN + crossed({feature.name: feature for feature in _PLAIN})
NAMES = tuple(f.name for f in FEATURES)
INDEX = {name: i for i, name in enumerate(NAMES)}
PRIOR = np.array([f.prior for f in FEATURES])
PRIOR_INTERCEPT = -4.0

_ENDS = list(accumulate(len(group.features) for group in GROUPS))
COLUMNS = {g.name: slice(end - len(g.features), end) for g, end in zip(GROUPS, _ENDS, strict=True)}
COLUMNS["cross"] = slice(len(_PLAIN), len(FEATURES))
"""Group name -> its columns in the feature matrix."""

_LEFT, _RIGHT = (np.array([INDEX[pair[side]] for pair in CROSSES]) for side in (0, 1))


def gather(scene: Scene) -> NDArray[np.float32]:
    """Return the feature matrix (c, len(FEATURES)) of the candidates; the position is the reference's.

    It is in Fortran order: groups fill columns, and columns are what is logged.
    """
    x = np.zeros((len(scene.found.rows), len(FEATURES)), np.float32, order="F")
    for group in GROUPS:
        group.fill(x[:, COLUMNS[group.name]], scene)
    cross(x, _LEFT, _RIGHT)
    return x
