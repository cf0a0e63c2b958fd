"""What is popular among users who share a value of context: a fold of touches, bounded in both directions.

An audience is one such value: `country=Germany`. Its items count with forward decay, so that the order of
touches does not matter while no cap is hit. A full audience loses its weakest items, a full table its weakest
audiences. What little an audience tells is shrunk to what all of them tell: the prior counts as many touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .decay import HALF_LIVES_S, Decay

AUDIENCES, AUDIENCE_ITEMS = 256, 256
AUDIENCES_OF_ONE = 8
PRIOR_TOUCHES = 20.0
LONGEST = 64  # characters of a value: longer ones name nobody else
LISTED = 50
_DECAY = Decay(HALF_LIVES_S[-1:])
_EVERYBODY = ""

T = TypeVar("T", int, str)

Value = str | bool | int | float | None


class Liked(NamedTuple):
    """An audience's items, best first, by what they are liked more than by everybody: its share less theirs."""

    rows: NDArray[np.int32]
    lift: NDArray[np.float64]


def audiences_of(context: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the audiences of somebody in a context; numbers are measures and make none.

    >>> audiences_of({"country": "Germany", "age": 30, "app": True})
    ('app=true', 'country=Germany')
    """
    values = {name: str(value).lower() if isinstance(value, bool) else value for name, value in context.items()}
    told = [f"{name}={text}" for name, text in sorted(values.items()) if isinstance(text, str) and len(text) <= LONGEST]
    return tuple(told[:AUDIENCES_OF_ONE])


class Audiences:
    """Decayed touches by audience and item row.

    >>> audiences = Audiences()
    >>> for n in range(60):
    ...     audiences.learn_one(("country=de",) if n % 2 else (), row=n % 2, time=0.0)
    >>> audiences.lists(now=0.0)["country=de"].rows.tolist()
    [1]
    """

    def __init__(self) -> None:
        self._landmark = 0.0
        self._weights: dict[str, dict[int, float]] = {}

    def __len__(self) -> int:
        return len(self._weights)

    def learn_one(self, audiences: Iterable[str], row: int, time: float) -> None:
        """Absorb one touch on an item by somebody of these audiences."""
        if (landmark := _DECAY.landmark(time)) > self._landmark:
            self._rebase(landmark)
        (value,) = _DECAY.at(time, self._landmark)
        for name in (_EVERYBODY, *audiences):
            items = self._weights.get(name)
            if items is None:
                items = self._weights[name] = {}
            items[row] = items.get(row, 0.0) + value
            if name and len(items) > AUDIENCE_ITEMS:
                _keep_strongest(items, AUDIENCE_ITEMS * 3 // 4)
        if len(self._weights) > AUDIENCES + 1:
            totals = {name: sum(items.values()) for name, items in self._weights.items() if name}
            _keep_strongest(totals, AUDIENCES * 3 // 4)
            self._weights = {name: self._weights[name] for name in (_EVERYBODY, *totals)}

    def _rebase(self, landmark: float) -> None:
        (factor,) = _DECAY.fading(landmark, self._landmark)
        for items in self._weights.values():
            for row in items:
                items[row] *= factor
        self._landmark = landmark

    def lists(self, now: float) -> dict[str, Liked]:
        """Return what each audience likes more than everybody does, as of `now`."""
        everybody = self._weights.get(_EVERYBODY, {})
        prior = PRIOR_TOUCHES * _DECAY.at(now, self._landmark)[0] if everybody else 0.0
        total = sum(everybody.values())
        return {name: _liked(items, everybody, total, prior) for name, items in self._weights.items() if name}


def _liked(items: Mapping[int, float], everybody: Mapping[int, float], total: float, prior: float) -> Liked:
    own = sum(items.values())
    shares = np.array([weight / own - everybody[row] / total for row, weight in items.items()])
    rows, lift = np.array(list(items), np.int32), shares * own / (own + prior)
    best = np.lexsort((rows, -lift))[:LISTED]
    best = best[lift[best] > 0.0]
    return Liked(rows[best], lift[best])


def _keep_strongest(weights: dict[T, float], n: int) -> None:
    for key in sorted(weights, key=lambda key: (weights[key], str(key)))[: len(weights) - n]:
        del weights[key]
