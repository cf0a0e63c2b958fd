"""Slates explained: what was logged of one, and what the record and the model say of it."""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter, Response

from online.core.affinity_events import affinities_behind
from online.core.contributions import found_by, parts_of
from online.core.preference_step import told
from online.core.propensity import redundancies
from online.core.ranker import PRIOR_RANKER, Ranker
from online.core.record import UserRecord
from online.ports import CorruptArtifact, Unavailable
from online.request import look_up
from online.world import RANKER, served_ranker, served_rankers
from schemas.explanation import DrawOut, ExplainedItem, ExplanationOut, FiredRuleOut, Part, StateRead, UserPart
from schemas.slate import AskIn, Slate

from .body import JSON
from .listings import RecommendationId
from .logged import logged, ranker_that_serves
from .recommendations import LOOKED_UP
from .served import find_slate
from .worker import Worker

_UNSOUND = (CorruptArtifact, ValueError, OSError, msgspec.MsgspecError)


def router(worker: Worker) -> APIRouter:
    """Return the route of explanations."""
    routes = APIRouter(tags=["Recommendations"])

    @routes.get("/v1/recommendations/{recommendation_id}/explain", response_model=ExplanationOut, responses=LOOKED_UP)
    async def explain(recommendation_id: RecommendationId) -> Response:
        """Explain a slate: the terms of each score, the events behind them, what was left out and why."""
        slate = await find_slate(worker, recommendation_id)
        ranker = await asyncio.to_thread(_ranker, worker, slate.model_version)
        return Response(explained(worker, slate, ranker).model_dump_json(), media_type=JSON)

    return routes


def explained(worker: Worker, slate: Slate, ranker: Ranker | None) -> ExplanationOut:
    """Return the explanation of a slate; scores have no terms where the ranker that made them is not known."""
    needs_none = slate.ranker in ("popularity", "listed")
    parts = parts_of(slate, ranker or PRIOR_RANKER) if ranker or needs_none else None
    document = logged(worker, slate, ranker)
    of_slots = zip(document["items"], slate.slots, found_by(slate), redundancies(slate), strict=True)
    document["items"] = [
        ExplainedItem(
            **item,
            parts=None if parts is None else parts[k],
            sources=sources,
            rules=[rule.rule_id for rule in slate.rules_on(candidate)],
            pinned=candidate in slate.pins.values(),
            redundancy=redundancy,
        )
        for k, (item, candidate, sources, redundancy) in enumerate(of_slots)
    ]
    return ExplanationOut(
        **document,
        session_items=slate.session_items,
        rules=[FiredRuleOut.model_validate(msgspec.structs.asdict(rule)) for rule in slate.rules],
        candidates=len(slate.candidates),
        removed_items=[i for i, may_be_shown in zip(slate.candidates, slate.eligible, strict=True) if not may_be_shown],
        ranker=slate.ranker,
        weighting=slate.weighting,
        state=StateRead.model_validate(slate, from_attributes=True),
        draw=DrawOut.model_validate(slate, from_attributes=True),
        stages_us=slate.stages_us,
        user=_user(worker, slate, parts or []),
    )


def _user(worker: Worker, slate: Slate, parts: list[list[Part]]) -> UserPart | None:
    """Return what the record says now; of who wants to be a stranger by now, as little as a slate would."""
    if slate.user_key is None:
        return None
    try:
        record = look_up(_who(slate), worker.records).record
    except Unavailable:
        return None
    if record is not None and record.controls is not None and record.controls.refusal:
        record = told(record)
    items = [slate.candidates[candidate] for candidate in slate.slots]
    spoke = list(zip(items, parts, strict=False))
    return UserPart(
        record_position=None if record is None else record.position,
        record_is_newer=record is not None and record.position != slate.record_position,
        affinities=affinities_behind(worker.world.table, record or UserRecord(), spoke, slate.time),
    )


def _who(slate: Slate) -> AskIn:
    """Return who asked, as the record was looked up then."""
    return AskIn(user_id=slate.request.get("user_id"), visitor_id=slate.request.get("visitor_id"))


def _ranker(worker: Worker, version: str) -> Ranker | None:
    """Return the ranker of a version: one that serves, or one whose artifact is still kept; None for neither."""
    found = ranker_that_serves(worker.world.frozen(), version)
    number = version.rpartition("@")[2]
    if found is not None or not number.isdecimal():
        return found or (PRIOR_RANKER if version == PRIOR_RANKER.version else None)
    try:
        artifact = worker.ports.artifacts.open(RANKER, int(number))
        if artifact is None:
            return None
        kept = [served_ranker(artifact), *served_rankers(artifact).values()]
    except _UNSOUND:
        return None
    return next((ranker for ranker in kept if ranker.version == version), None)
