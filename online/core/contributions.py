"""What a logged score is made of: terms that add up to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.explanation import FoundBy, Part
from schemas.slate import Slate

from .features import NAMES
from .ranker import Ranker
from .slate_features import slate_features
from .value import Value

Floats = NDArray[np.float64]


def parts_of(slate: Slate, ranker: Ranker) -> list[list[Part]]:
    """Return the terms of each slot's score, the largest first, without those that are 0.

    A score is weights · features + intercept, the log-odds of a click. Where the ranker has heads, what the worth of
    carts and purchases makes of these is the term `value`: no feature alone is to be credited with it.

    Args:
        slate: what was logged.
        ranker: that has scored it; a policy of popularity alone, and a list in an order of its own, need none.

    Raises:
        ValueError: what is logged is no matrix of its candidates and features.
    """
    x = slate_features(slate)[slate.slots].astype(np.float64)  # (n, f)
    by_feature, others = _terms(slate, ranker, x)
    if slate.boosts:
        others["rules"] = np.frombuffer(slate.boosts)[slate.slots]
    if slate.fatigue:
        others["fatigue"] = np.frombuffer(slate.fatigue, np.float32)[slate.slots].astype(np.float64)
    return [
        _sorted(
            [
                Part(name=name, value=value, contribution=term)
                for name, value, term in zip(slate.feature_names, values, terms, strict=True)
                if term != 0.0
            ]
            + [Part(name=name, contribution=float(of_slots[k])) for name, of_slots in others.items() if of_slots[k]]
        )
        for k, (values, terms) in enumerate(zip(x.tolist(), by_feature.tolist(), strict=True))
    ]


def _terms(slate: Slate, ranker: Ranker, x: Floats) -> tuple[Floats, dict[str, Floats]]:
    """Return the terms of features (n, f), and those beside them (n,) by name."""
    if slate.ranker == "listed":
        return np.zeros_like(x), {"place": -np.array(slate.slots, np.float64)}
    if slate.ranker == "popularity":
        return x * (np.array(slate.feature_names) == "standing"), {}
    known = dict(zip(NAMES, ranker.weights_on(slate.surface).tolist(), strict=True))
    terms = x * np.array([known.get(name, 0.0) for name in slate.feature_names])
    others = {"intercept": np.full(len(x), ranker.intercept)}
    if ranker.heads:
        features = np.zeros((len(x), len(NAMES)), np.float32)
        for column, name in enumerate(NAMES):
            if name in slate.feature_names:
                features[:, column] = x[:, slate.feature_names.index(name)]
        value = Value(**slate.values) if slate.values else None
        others["value"] = ranker.utilities(features, slate.surface, value) - terms.sum(axis=1) - ranker.intercept
    if slate.weight_shift:
        others["thompson"] = x @ np.frombuffer(slate.weight_shift)
    return terms, others


def _sorted(parts: list[Part]) -> list[Part]:
    return sorted(parts, key=lambda part: -abs(part.contribution))


def found_by(slate: Slate) -> list[list[FoundBy]]:
    """Return, per slot, the sources that found its item, with rank and score as the ranking has read them."""
    columns = {name: column for column, name in enumerate(slate.feature_names)}
    found = []
    for candidate, values in zip(slate.slots, slate_features(slate)[slate.slots].tolist(), strict=True):
        told = {name: values[column] for name, column in columns.items()}
        found.append([_found(source, told) for source in slate.sources_of(candidate)])
    return found


def _found(source: str, told: dict[str, float]) -> FoundBy:
    reciprocal = told.get(f"{source}_rank", 0.0)
    return FoundBy(
        source=source,
        rank=round(1.0 / reciprocal) if reciprocal > 0.0 else None,
        score=told.get(f"{source}_score"),
    )
