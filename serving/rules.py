"""Dry runs of rules: what would change on the slates served last."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from online.control.rule import RULE, RuleIn
from online.core.record import UserRecord
from online.core.rules.dry_run import dry_run
from online.core.rules.rule_set import CompiledRule
from online.ports import LogError, Unavailable
from online.recent_slates import recent_slates
from schemas.fields import Edge
from schemas.slate import Slate

from .body import JSON, parse, read_body, takes
from .control import PROBLEMS, DocumentId
from .problem import Problem
from .worker import Worker


class DryRunIn(Edge):
    """What is to be tried: a rule, or without one the rule that stands; and on how many of the last slates."""

    rule: RuleIn | None = None
    slates: Annotated[int, Field(ge=1, le=1000)] = 200


class SlotsOut(BaseModel):
    """Slots that other items have, and the items that are in most of them."""

    slots: int
    items: dict[str, int]


class CoverageOut(BaseModel):
    """How many different items the slates show, without the rule and under it."""

    before: int
    after: int
    lost: int
    gained: int


class ExampleOut(BaseModel):
    """A slate that changes."""

    recommendation_id: str
    surface: str
    before: list[str]
    after: list[str]


class DryRunOut(BaseModel):
    """What the rule changes; `matching` slates have a candidate it is on, `shorter` ones would be filled up."""

    slates: int
    passed_over: int
    matching: int
    changed: int
    shorter: int
    removed: SlotsOut
    added: SlotsOut
    coverage: CoverageOut
    examples: list[ExampleOut]


BODIES: list[type[BaseModel]] = [DryRunIn]


def router(worker: Worker) -> APIRouter:
    """Return the route of dry runs."""
    routes = APIRouter(tags=["Running it"])

    @routes.post(
        "/v1/rules/{document_id}:dry_run",
        response_model=DryRunOut,
        responses=PROBLEMS,
        openapi_extra=takes(DryRunIn),
    )
    async def try_rule(document_id: DocumentId, request: Request) -> Response:
        """Draw the last slates again under a rule, and say what changes; nothing is kept."""
        asked = parse(DryRunIn, await read_body(request) or b"{}")
        rule = _rule(worker, document_id, asked.rule)
        try:
            document = await asyncio.to_thread(_tried, worker, rule, asked.slates)
        except (Unavailable, LogError) as error:
            raise Problem(503, "log_away", f"the last slates cannot be read: {error}") from None
        return Response(msgspec.json.encode(document), media_type=JSON)

    return routes


def _rule(worker: Worker, document_id: str, given: RuleIn | None) -> CompiledRule:
    if given is not None:
        return RULE.build(document_id, 0, given)
    standing = worker.world.control.of(RULE).get(document_id)
    if standing is None:
        raise Problem(404, "no_rule", "there is no such rule: PUT it first, or send one as `rule`")
    return standing


def _tried(worker: Worker, rule: CompiledRule, most: int) -> dict[str, Any]:
    with closing(worker.ports.open_log()) as log:
        slates = recent_slates(log, partitions=worker.partitions, most=most, now=time.time())
    records, unknown = _records(worker, slates), UserRecord()
    run = dry_run(rule, slates, worker.world.table, lambda slate: records.get(slate.user_key or "", unknown))
    return run.document()


def _records(worker: Worker, slates: list[Slate]) -> dict[str, UserRecord]:
    """Return the records of the slates' users as they are now, without those that there are not, or not to be read."""
    keys = sorted({slate.user_key for slate in slates if slate.user_key is not None})
    try:
        found = worker.records(keys) if keys else []
    except Unavailable:
        return {}
    return {key: record for key, record in zip(keys, found, strict=True) if record is not None}
