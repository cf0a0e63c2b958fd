"""`headrace models`: the candidates for ranking, what is said of them, and from where in the log they have learned."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flows.artifact import newest_sound
from flows.learn import STATE_FILE
from headrace.process import open_artifacts
from headrace.settings import Settings, SettingsError
from headrace.system import located
from online.connect import open_state
from online.control.model import MODEL, RANKER_SLOT
from online.core.control import CONTROL_ENTRY, decode_entry, entry_key
from online.core.features import NAMES
from online.core.ranker import Ranker
from online.models.candidates import Candidates
from online.models.learner import CANDIDATES
from online.ports import Artifact, Unavailable
from online.world import RANKER

SLOTS_SHOWN = 10
STATE_TIMEOUT_S = 1.0


def listed(settings: Settings) -> dict[str, Any]:
    """Return every candidate with its figures, the baselines, the examination curves, and the version's lineage.

    Raises:
        SettingsError: no ranker was ever published there.
    """
    artifact = _newest(settings)
    lineage = artifact.lineage
    return {
        "version": artifact.version,
        "active": _activated(settings) or lineage.get("active"),
        "compared_with": lineage.get("active"),
        "slates": lineage["slates"],
        "rows": lineage["rows"],
        "clicks": lineage["clicks"],
        "corrections": lineage.get("corrections", 0),
        "lineage": _lineage(artifact),
        "candidates": lineage.get("candidates", {}),
        "baselines": lineage.get("baselines", {}),
        "examination": _examination(artifact),
    }


def _activated(settings: Settings) -> str:
    """Return the candidate that was made active; empty when none was, or the state store does not say it now."""
    state = open_state(located(settings).state, timeout_s=STATE_TIMEOUT_S)
    try:
        entry = decode_entry(state.get(0, CONTROL_ENTRY, entry_key(MODEL.name, RANKER_SLOT)))
    except Unavailable:
        return ""
    finally:
        state.close()
    document = None if entry.current is None else entry.current.document
    return (document or {}).get("candidate") or ""


def shown(settings: Settings, name: str) -> dict[str, Any]:
    """Return one candidate: its hyper-parameters, figures and weights.

    Raises:
        SettingsError: no such candidate learns there, or no ranker was ever published.
    """
    artifact = _newest(settings)
    candidates: dict[str, Any] = artifact.lineage.get("candidates", {})
    if name not in candidates or STATE_FILE not in artifact.files:
        raise SettingsError(f"no candidate {name!r} learns here; there are {', '.join(candidates) or 'none'}")
    kept = Candidates.from_state(artifact.files[STATE_FILE].read_bytes(), [name])
    return {
        "name": name,
        "is_active": (_activated(settings) or artifact.lineage["active"]) == name,
        "kind": type(CANDIDATES[name]).__name__.removesuffix("Config"),
        "config": asdict(CANDIDATES[name]),
        "version": artifact.version,
        "lineage": _lineage(artifact),
        "figures": candidates[name],
        **_weights(kept.learners[name].export(name)),
    }


def _examination(artifact: Artifact) -> dict[str, Any]:
    """Return by surface/device how much each slot is looked at, relative to the first, and the clicks that say so."""
    if STATE_FILE not in artifact.files:
        return {}
    examination = Candidates.from_state(artifact.files[STATE_FILE].read_bytes()).examination
    told = {}
    for key, slots in examination.state().items():
        surface, _, device = key.rpartition("/")
        curve = examination.curve(surface, device)[:SLOTS_SHOWN]
        told[key] = {"uniform_clicks": round(sum(slots.clicks), 1), "curve": curve.round(3).tolist()}
    return told


def _weights(ranker: Ranker) -> dict[str, Any]:
    return {
        "intercept": ranker.intercept,
        "weights": dict(zip(NAMES, ranker.weights.tolist(), strict=True)),
        "by_surface": {
            surface: {name: weight for name, weight in zip(NAMES, cross.tolist(), strict=True) if weight}
            for surface, cross in ranker.crosses.items()
        },
    }


def _lineage(artifact: Artifact) -> dict[str, Any]:
    return {name: artifact.lineage.get(name) for name in ("positions", "published_at")}


def _newest(settings: Settings) -> Artifact:
    artifact = newest_sound(open_artifacts(settings), RANKER)
    if artifact is None:
        raise SettingsError(f"no ranker was ever published in {settings.data_dir}: slates and clicks make the first")
    return artifact
