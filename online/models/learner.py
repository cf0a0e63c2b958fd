"""What a candidate for ranking clicks is, and the named versions there are of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from online.core.ranker import Ranker

from .click_ranker import ClickRanker, ClickRankerConfig
from .newton_ranker import NewtonRanker, NewtonRankerConfig
from .slate_ranker import SlateRanker, SlateRankerConfig
from .slate_rows import SlateRows

Config = ClickRankerConfig | SlateRankerConfig | NewtonRankerConfig

CANDIDATES: Mapping[str, Config] = {
    "pointwise-1": ClickRankerConfig(),
    "pointwise-2": ClickRankerConfig(learning_rate=0.15),
    "pairwise-1": SlateRankerConfig("pairwise"),
    "listwise-1": SlateRankerConfig("listwise"),
    "listwise-2": SlateRankerConfig("listwise", learning_rate=0.15),
    "newton-1": NewtonRankerConfig(),
    "newton-2": NewtonRankerConfig(surface_rate=0.05),
}
"""Hyper-parameters by name; a name keeps its meaning for ever, other values get another."""


class Learner(Protocol):
    """Learns clicks slate by slate. Utilities are log-odds of a click."""

    def log_odds(self, rows: SlateRows) -> NDArray[np.float64]:
        """Return what it expects of each row (n,), in its slot; changes nothing."""
        ...

    def learn_one(self, rows: SlateRows) -> None:
        """Absorb one slate."""
        ...

    def export(self, version: str) -> Ranker:
        """Return the served form of what is learned so far."""
        ...

    def state(self) -> bytes:
        """Return everything a restart needs, as json."""
        ...


def new_learner(name: str, state: bytes | None = None) -> Learner:
    """Return the learner of a named version, as it was kept or before it has learned anything.

    Raises:
        KeyError: there is no such version.
        msgspec.MsgspecError: the state is none.
    """
    config = CANDIDATES[name]
    if isinstance(config, ClickRankerConfig):
        return ClickRanker(config) if state is None else ClickRanker.from_state(state, config)
    if isinstance(config, NewtonRankerConfig):
        return NewtonRanker(config) if state is None else NewtonRanker.from_state(state, config)
    return SlateRanker(config) if state is None else SlateRanker.from_state(state, config)
