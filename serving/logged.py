"""A slate in words, from what was logged of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from online.core.explain import reasons_of
from online.core.ranker import Ranker
from online.world import World
from schemas.slate import Slate

from .worker import Worker


def slots_of(slate: Slate) -> list[dict[str, Any]]:
    """Return the slots of a slate, but for their reasons."""
    scores = np.frombuffer(slate.utilities)[slate.slots].round(6).tolist()
    pinned = set(slate.pins.values())
    return [
        {
            "item_id": slate.candidates[candidate],
            "position": place,
            "score": score,
            "propensity": propensity,
            "source": "pin" if candidate in pinned else slate.source_of(candidate) or "static",
        }
        for place, (candidate, score, propensity) in enumerate(
            zip(slate.slots, scores, slate.propensities, strict=True), start=1
        )
    ]


def ranker_that_serves(world: World, version: str) -> Ranker | None:
    """Return the ranker of a version if it serves."""
    return next((r for r in (world.ranker, *world.rankers.values()) if r.version == version), None)


def logged(worker: Worker, slate: Slate, ranker: Ranker | None = None) -> dict[str, Any]:
    """Return a slate as it was answered; reasons only with the ranker that they follow from, or while it serves."""
    items, world = slots_of(slate), worker.world.frozen()
    ranker = ranker or ranker_that_serves(world, slate.model_version)
    reasons = [None] * len(items) if ranker is None else reasons_of(slate, world.table, ranker)
    for item, reason in zip(items, reasons, strict=True):
        item["reason"] = reason
    return {
        "recommendation_id": slate.recommendation_id,
        "decision_id": slate.decision_id,
        "surface": slate.surface,
        "served_at": slate.served_at,
        "items": items,
        "policy_id": slate.policy_id,
        "policy_version": slate.policy_version,
        "model_version": slate.model_version,
        "experiment": {"id": slate.experiment_id, "variant": slate.variant} if slate.experiment_id else None,
        "fallback": None if slate.rung == "personal" else {"rung": slate.rung, "why": slate.why},
        "controls": slate.controls,
        "removed": slate.removed,
        "ope_valid": slate.ope_valid,
        "ope_why": slate.ope_why,
    }
