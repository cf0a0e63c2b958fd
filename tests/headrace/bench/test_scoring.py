from __future__ import annotations

from headrace.bench.scoring import CANDIDATES, scoring
from online.core.features import NAMES


def test_scoring_compares_the_exported_ranker_with_rivers_own_predictions() -> None:
    figures = scoring(users=100, items=500, history=2000, repeats=1)

    assert (figures["candidates"], figures["features"]) == (CANDIDATES, len(NAMES))
    assert figures["max_difference"] < 1e-6
    assert figures["n"] > 20
    assert min(figures[f"{name}_us"] for name in ("features", "score", "features_and_score", "river")) > 0
