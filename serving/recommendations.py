"""Recommendations: resolve the request, read the record, run the ranking path, keep the slate, answer."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Query, Request, Response

from online.control.surface import SURFACE
from online.core.explain import reasons_of
from online.core.features import NAMES
from online.core.join import SLATES
from online.core.policy_document import POLICIES, POPULARITY_POLICY
from online.core.record import UserRecord
from online.core.rules.rule_set import InvalidRule
from online.core.slate_features import slate_features
from online.pipeline import SlateRequest, Stopwatch, is_showable, recommend
from online.ports import Unavailable
from online.request import Known, UnknownPolicy, look_up, request_key, resolve
from online.world import World
from schemas.fields import PRINTABLE
from schemas.slate import MAX_SLATE, AskIn, LoggedSlateOut, RecommendIn, Slate, SlateOut, encode_slate

from .access import require_acting_for
from .body import JSON, PathId, parse, read_body, takes
from .logged import logged, slots_of
from .next_cursor import next_cursor
from .problem import Problem, ProblemOut, invalid
from .served import find_slate, is_recommendation_id
from .spool import SpoolFull
from .worker import Worker

PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": ProblemOut} for code in (404, 413, 422)}
LOOKED_UP: dict[int | str, dict[str, Any]] = {**PROBLEMS, 503: {"model": ProblemOut}}
BREAKABLE = frozenset({"retrieve", "eligibility"})  # stages behind which much is left to do

Count = Annotated[int, Query(ge=1, le=MAX_SLATE)]
Surface = Annotated[str, Query(min_length=1, max_length=128, pattern=PRINTABLE)]


class _Late(Exception):
    """There is no time for the rest of the stages; the message says why."""


class _Stages:
    """Microseconds per stage of a request, and its deadline."""

    def __init__(self) -> None:
        self.began = self._last = time.perf_counter()
        self.us: dict[str, float] = {}
        self.deadline_ms = math.inf

    def __call__(self, stage: str) -> None:
        """Take note that a stage has ended.

        Raises:
            _Late: the deadline has passed, and what is left to do takes longer than a plain answer.
        """
        now = time.perf_counter()
        self.us[stage] = round((now - self._last) * 1e6, 1)
        self._last = now
        if stage in BREAKABLE and (now - self.began) * 1000.0 > self.deadline_ms:
            self.deadline_ms = math.inf
            raise _Late(f"the deadline passed in the stage {stage}")


def router(worker: Worker) -> APIRouter:
    """Return the routes of the recommendations."""
    routes = APIRouter(tags=["Recommendations"])

    @routes.post("/v1/recommendations", response_model=SlateOut, responses=PROBLEMS, openapi_extra=takes(RecommendIn))
    async def post_recommendations(request: Request) -> Response:
        """Return a slate for a user, a visitor, a session or an item page."""
        ask = parse(RecommendIn, await read_body(request))
        require_acting_for(request, ask.user_id)
        return _answer(worker, request, ask)

    @routes.get("/v1/recommendations/{user_id}", response_model=SlateOut | LoggedSlateOut, responses=LOOKED_UP)
    async def get_recommendations(
        request: Request, user_id: PathId, n: Count | None = None, surface: Surface = "home"
    ) -> Response:
        """Return a slate for a user: the same as POST, for a curl. The id of a slate returns that one, as served."""
        if is_recommendation_id(user_id) and not request.query_params:
            return Response(msgspec.json.encode(logged(worker, await find_slate(worker, user_id))), media_type=JSON)
        ask = RecommendIn(user_id=user_id, surface=surface)
        return _answer(worker, request, ask if n is None else RecommendIn(user_id=user_id, surface=surface, n=n))

    return routes


def _answer(worker: Worker, http: Request, ask: AskIn) -> Response:
    return Response(msgspec.json.encode(answered(worker, http, ask)[0]), media_type=JSON)


def answered(
    worker: Worker, http: Request, ask: AskIn, shaped: Callable[[SlateRequest], SlateRequest] | None = None
) -> tuple[dict[str, Any], Slate]:
    """Return the answer to a request for a slate, and the slate, which is kept.

    `shaped` says what else the request is, beside what `resolve` makes of it.

    Raises:
        Problem: 422, it cannot be answered.
    """
    stages = _Stages()
    world = worker.current()
    request = _resolved(worker, world, ask, http.headers.get("user-agent", ""))
    if shaped is not None:
        request = shaped(request)
    world.ranker = world.ranker_of(request.policy)
    known, degraded = _known(worker, ask)
    record = known.record
    stages("record")
    stages.deadline_ms = request.deadline_ms
    slate = _drawn(world, request, record, degraded, stages)
    while not is_showable(world, slate):  # the follower has just applied a takedown that hits it
        slate = _drawn(world, request, record, degraded, stages)
    slate.stages_us = stages.us
    if slate.user_key is not None:
        slate.records = dict(known.positions)
    encoded = encode_slate(slate)
    worker.served.note(slate.recommendation_id, encoded)
    try:
        worker.appender.keep((SLATES, slate.partition, encoded))
    except (SpoolFull, OSError) as error:
        slate.ope_valid, slate.ope_why = False, f"not logged: {error}"
    stages("log")
    document = _described(world, ask, request, slate, None if degraded else record, stages.began)
    surface = slate.surface if slate.surface in world.control.of(SURFACE) else "other"  # a client may send any
    worker.metrics.slates.labels(surface, slate.rung).inc()
    worker.metrics.robot_slates.inc(slate.robot)
    worker.metrics.slate_seconds.observe(time.perf_counter() - stages.began)
    worker.shadowing.answered(world, request, record, slate)
    return document, slate


def _drawn(world: World, request: SlateRequest, record: UserRecord | None, degraded: str, stages: Stopwatch) -> Slate:
    """Return a slate: once the deadline has passed, one of what everybody likes, without the stages that are left."""
    try:
        return recommend(world, request, record, degraded=degraded, stopwatch=stages)
    except _Late as late:
        policy = POLICIES[POPULARITY_POLICY]  # as built in: a tenant's may be none the cheaper
        plain = replace(request, policy=policy, slots=policy.slots_of(request.surface))
        return recommend(world, plain, record, degraded=degraded, late=str(late), stopwatch=stages)


def _known(worker: Worker, ask: AskIn) -> tuple[Known, str]:
    key = request_key(ask)
    try:
        known = look_up(ask, worker.records)
    except Unavailable as error:
        return Known(worker.remembered.of(key)), f"no user record: {error}"
    worker.remembered.note(key, known.record)
    return known, ""


def _resolved(worker: Worker, world: World, ask: AskIn, user_agent: str) -> SlateRequest:
    try:
        return resolve(
            ask,
            partitions=worker.partitions,
            served_at=time.time(),
            seed=secrets.randbits(63),
            suffix=secrets.token_hex(8),
            user_agent=user_agent,
            control=world.control,
            holdout=worker.ports.holdout,
        )
    except UnknownPolicy as error:
        raise Problem(422, "unknown_policy", str(error)) from None
    except InvalidRule as error:
        raise invalid([{"code": "invalid_expression", "field": error.field, "message": str(error)}]) from None


def _described(
    world: World, ask: AskIn, request: SlateRequest, slate: Slate, record: UserRecord | None, began: float
) -> dict[str, Any]:
    personal = slate.rung == "personal"
    return {
        "recommendation_id": slate.recommendation_id,
        "decision_id": slate.decision_id,
        "items": _items(world, ask, slate),
        "policy_id": slate.policy_id,
        "policy_version": slate.policy_version,
        "model_version": slate.model_version,
        "experiment": {"id": slate.experiment_id, "variant": slate.variant} if slate.experiment_id else None,
        "controls": slate.controls,
        "fallback": None if personal else {"rung": slate.rung, "why": slate.why},
        "state_as_of": {
            "position": record.position if record else None,
            "lag_ms": round(max(0.0, slate.time - record.last_time) * 1000, 3) if record else None,
        },
        "ope_valid": slate.ope_valid,
        "took_ms": round((time.perf_counter() - began) * 1000, 3),
        "next_cursor": next_cursor(request, slate),
    }


def _items(world: World, ask: AskIn, slate: Slate) -> list[dict[str, Any]]:
    items = slots_of(slate)
    for item, reason in zip(items, reasons_of(slate, world.table, world.ranker), strict=True):
        item["reason"] = reason
    if ask.return_properties:
        for item in items:
            item["properties"] = _properties(world, item["item_id"], ask.return_properties)
    if ask.explain:
        for item, contributions in zip(items, _contributions(world, slate), strict=True):
            item["features"] = contributions
    return items


def _contributions(world: World, slate: Slate) -> list[dict[str, float]]:
    """Return, per slot, what each feature adds to the score."""
    weights = world.ranker.weights_on(slate.surface)
    if slate.weight_shift:
        weights = weights + np.frombuffer(slate.weight_shift)
    added = (slate_features(slate)[slate.slots] * weights).round(6).tolist()
    contributions = [dict(zip(NAMES, of_slot, strict=True)) for of_slot in added]
    if slate.boosts:
        boosts = np.frombuffer(slate.boosts)[slate.slots].round(6).tolist()
        for of_slot, boost in zip(contributions, boosts, strict=True):
            of_slot["rules"] = boost
    return contributions


def _properties(world: World, item_id: str, names: list[str]) -> dict[str, Any]:
    document = world.table.documents.get(item_id)
    if document is None:
        return {}
    known = {**msgspec.structs.asdict(document), **document.attributes}
    return {name: known[name] for name in names if name in known}
