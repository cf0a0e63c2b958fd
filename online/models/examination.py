"""How likely each slot is looked at, by surface and device, from what uniform draws got there.

A slot that the policy filled from its uniform part shows an item whatever the ranker thought of it, so how often such
slots are clicked, relative to the first, is how often they are examined (result randomisation: Joachims, Swaminathan,
Schnabel, WSDM 2017, section 5.1; of a mixture each row counts by its probability of being uniform).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.example import Example
from online.core.features import position_feature
from schemas.slate import MAX_SLATE

Floats = NDArray[np.float64]

MAX_WEIGHT = 10.0
PRIOR_CLICKS = 20.0  # how many uniform clicks at a slot of full examination the prior curve is worth
MEMORY = 0.99999  # share that each slate leaves of what the same curve knew before
MAX_CURVES = 64  # beyond, surfaces and devices share the curve of ("", "")
PRIOR_CURVE: Floats = np.array([position_feature(slot) for slot in range(1, MAX_SLATE + 1)])


class Slots(msgspec.Struct):
    """Uniformly drawn rows by slot: their number, and their clicks."""

    shown: list[float]
    clicks: list[float]


class Examination:
    """Examination curves, learned slate by slate.

    A curve need not fall: in a grid or a carousel the second row's first item may be looked at before the first row's
    last. What later slots lack in items, since the draw leaves out those shown above, counts as less examination; with
    many candidates that is little.
    """

    def __init__(self, curves: dict[str, Slots] | None = None) -> None:
        self._slots = {
            key: np.array([kept.shown, kept.clicks], np.float64) for key, kept in (curves or {}).items()
        }  # (2, MAX_SLATE)

    def learn_one(self, example: Example) -> None:
        """Absorb one slate."""
        if not example.uniform:
            return
        key = self._key(example)
        slots = self._slots.setdefault(key, np.zeros((2, MAX_SLATE)))
        slots *= MEMORY
        at, uniform = np.array(example.positions) - 1, np.array(example.uniform)
        slots[0, at] += uniform
        slots[1, at] += uniform * np.array(example.clicked)

    def _key(self, example: Example) -> str:
        key = f"{example.surface}/{example.device}"
        return key if key in self._slots or len(self._slots) < MAX_CURVES else "/"

    def curve(self, surface: str, device: str) -> Floats:
        """Return the examination of each slot relative to the first (MAX_SLATE,), the prior curve where unknown.

        The clicks of a slot are Poisson with mean shown · base rate · examination; examination has a Gamma prior around
        the prior curve, and this is its posterior mean, scaled to 1 at the first slot.

        >>> Examination().curve("home", "phone")[:3].round(3).tolist()
        [1.0, 0.631, 0.5]
        """
        slots = self._slots.get(f"{surface}/{device}", self._slots.get("/"))
        if slots is None or not slots[1].any():
            return PRIOR_CURVE
        shown, clicks = slots
        base = clicks.sum() / (shown @ PRIOR_CURVE)
        for _ in range(3):  # the base rate and the curve depend on one another
            curve: Floats = (clicks + PRIOR_CLICKS * PRIOR_CURVE) / (shown * base + PRIOR_CLICKS)
            base = clicks.sum() / (shown @ curve)
        relative: Floats = curve / curve[0]
        return relative

    def weights(self, example: Example) -> Floats:
        """Return what each row of an example weighs (n,): a clicked one 1 / examination, at most `MAX_WEIGHT`."""
        slots = np.array(example.positions) - 1
        examined = self.curve(example.surface, example.device)[slots]
        weights: Floats = np.where(example.clicked, np.minimum(1.0 / np.maximum(examined, 1e-9), MAX_WEIGHT), 1.0)
        return weights

    def state(self) -> dict[str, Slots]:
        """Return everything a restart needs."""
        return {key: Slots(slots[0].tolist(), slots[1].tolist()) for key, slots in self._slots.items()}
