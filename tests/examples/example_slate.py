"""A slate of which a test says only what it is about."""

from __future__ import annotations

from typing import Any

from schemas.slate import Slate


def example_slate(**said: Any) -> Slate:
    """Return a personal slate that shows nothing, with the fields that are said."""
    fields: dict[str, Any] = {
        "recommendation_id": "r",
        "partition": 0,
        "user_key": None,
        "surface": "home",
        "time": 0.0,
        "n": 1,
        "request": {},
        "session_items": [],
        "record_position": "",
        "updates": {},
        "model_version": "",
        "index_version": 0,
        "policy_id": "p",
        "rung": "personal",
        "why": "",
        "tau": 0.25,
        "epsilon": 0.05,
        "diversity": 0.3,
        "seed": 1,
        "candidates": [],
        "feature_names": [],
        "source_names": [],
        "features": b"",
        "utilities": b"",
        "groups": b"",
        "eligible": b"",
        "sources": b"",
        "slots": [],
        "propensities": [],
        **said,
    }
    fields.setdefault("decision_id", fields["recommendation_id"])
    fields.setdefault("served_at", fields["time"])
    return Slate(**fields)
