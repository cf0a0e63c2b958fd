"""Canaries: start one on a surface, see what its guardrails say, and pause, resume, stop or promote it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from online.canary_counts import canary_counts
from online.control.canary import CANARY, CanaryDocument, CanaryIn, moved, started
from online.control.control import Control
from online.control.policy import POLICY
from online.control.surface import SURFACE
from online.core.canary import Canary, decide
from online.core.steward import STEWARD, decode_words
from online.ports import Unavailable
from schemas.control import ControlChange

from .body import JSON, parse, read_body, takes, who
from .control import CHANGED, PROBLEMS, DocumentId, Reason, WhyIn, changed, described
from .problem import Problem, invalid
from .warehouse import from_warehouse
from .worker import Worker

LIVE = ("running", "paused")
MOVES: dict[str, tuple[tuple[str, ...], Literal["running", "paused", "stopped"]]] = {
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "stop": (LIVE, "stopped"),
}
"""What is asked for -> in which states it can be, and the state that follows."""


class StartIn(CanaryIn):
    """A canary, and why it is started."""

    reason: Reason = ""


BODIES: list[type[BaseModel]] = [StartIn]


def router(worker: Worker) -> APIRouter:
    """Return the routes of canaries; the id of one is its surface."""
    routes = APIRouter(tags=["Running it"])
    path = "/v1/canaries/{document_id}"

    @routes.get("/v1/canaries", responses=PROBLEMS)
    async def list_canaries() -> Response:
        """List the last canary of each surface."""
        control = worker.world.control
        found = [described(control, CANARY, surface) for surface in sorted(control.ids(CANARY.name))]
        return _json({"canaries": found, "control_version": control.version})

    @routes.get(path, responses=PROBLEMS)
    async def show_canary(document_id: DocumentId) -> Response:
        """Return the last canary of a surface, what each guardrail says now, and what its steward has last said."""
        control = worker.world.control
        _standing(control, document_id)
        canary = control.of(CANARY)[document_id]
        return _json({**described(control, CANARY, document_id), **await _status(worker, canary)})

    @routes.post(f"{path}:start", responses=CHANGED, openapi_extra=takes(StartIn))
    async def start(document_id: DocumentId, request: Request) -> Response:
        """Let a candidate policy answer a growing share of a surface's users, as long as its guardrails hold."""
        asked = parse(StartIn, await read_body(request))
        document = _started(worker.world.control, document_id, asked)
        return await _changed(worker, request, document_id, document, asked.reason)

    for move in MOVES:
        _add_move(routes, worker, f"{path}:{move}", move)

    @routes.post(f"{path}:promote", responses=CHANGED, openapi_extra=takes(WhyIn))
    async def promote(document_id: DocumentId, request: Request) -> Response:
        """Let the candidate answer the whole surface now; the surface's `:rollback` takes it back."""
        reason = parse(WhyIn, await read_body(request) or b"{}").reason
        control = worker.world.control
        document = _live(control, document_id, LIVE)
        surface = {**control.standings(SURFACE, document_id)[-1].document, "policy": document.policy}
        said = ControlChange(kind=SURFACE.name, id=document_id, document=surface, by=who(request), reason=reason)
        answered = await changed(worker, said)
        await _changed(worker, request, document_id, moved(document, "passed", reason or "promoted"), reason)
        return answered

    return routes


def _add_move(routes: APIRouter, worker: Worker, path: str, move: str) -> None:
    states, after = MOVES[move]
    does = {
        "pause": "Leave the candidate its share; guardrails still stop it.",
        "resume": "Let the steps go on.",
        "stop": "Take the candidate's share away: the baseline answers everybody.",
    }

    @routes.post(path, responses=CHANGED, openapi_extra=takes(WhyIn), description=does[move])
    async def moved_(document_id: DocumentId, request: Request) -> Response:
        reason = parse(WhyIn, await read_body(request) or b"{}").reason
        document = moved(_live(worker.world.control, document_id, states), after, reason or move)
        return await _changed(worker, request, document_id, document, reason)


async def _changed(worker: Worker, request: Request, surface: str, document: CanaryDocument, reason: str) -> Response:
    raw = document.model_dump(mode="json")
    return await changed(
        worker, ControlChange(kind=CANARY.name, id=surface, document=raw, by=who(request), reason=reason)
    )


def _standing(control: Control, surface: str) -> CanaryDocument:
    standings = control.standings(CANARY, surface)
    if not standings:
        raise Problem(404, "no_canary", "there was no canary on this surface: start one")
    return CanaryDocument.model_validate(standings[-1].document)


def _live(control: Control, surface: str, states: tuple[str, ...]) -> CanaryDocument:
    document = _standing(control, surface)
    if document.state not in states:
        raise Problem(409, "not_live", f"the canary of this surface is {document.state}")
    return document


def _started(control: Control, surface: str, asked: StartIn) -> CanaryDocument:
    """Return the document of a canary that may begin."""
    if surface not in control.of(SURFACE):
        raise Problem(404, "no_surface", "there is no such surface: PUT it first")
    now = control.of(CANARY).get(surface)
    if now is not None and now.is_live:
        raise Problem(409, "in_use", f"{now.policy} is the canary of this surface: stop that first")
    baseline, policies = control.of(SURFACE)[surface].policy, control.of(POLICY)
    if asked.policy not in policies:
        message = f"there is none of this id; there are {', '.join(sorted(policies))}"
        raise invalid([{"code": "unknown_reference", "field": "policy", "message": message}])
    versions = (policies[asked.policy].version, control.policy(baseline).version)
    return started(surface, asked, baseline, versions, time.time())


async def _status(worker: Worker, canary: Canary) -> dict[str, Any]:
    """Return the guardrails' figures of the present step, what would follow from them, and the steward's last word."""
    try:
        counts, away = await from_warehouse(worker, lambda warehouse: canary_counts(warehouse, canary)), ""
    except Problem as problem:
        counts, away = None, str(problem.detail)
    action = decide(canary, counts, time.time())
    return {
        "share": canary.share,
        "slates": None if counts is None else [int(arm.errors.n) for arm in (counts.candidate, counts.baseline)],
        "guardrails": [msgspec.to_builtins(verdict) for verdict in action.verdicts],
        "action": {"kind": action.kind, "why": away or action.why} if canary.is_live else None,
        "steward": await asyncio.to_thread(_word, worker, canary.surface),
    }


def _word(worker: Worker, surface: str) -> dict[str, Any] | None:
    """Return what the surface's steward has said last; None where none lives, or the state store does not say."""
    try:
        said = worker.ports.state.announced(STEWARD).values()
    except Unavailable:
        return None
    words = [words[surface] for words in map(decode_words, said) if surface in words]
    return {"at": words[-1].at, "action": words[-1].action, "why": words[-1].why} if words else None


def _json(document: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(document), media_type=JSON)
