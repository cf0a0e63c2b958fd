"""Slates beside the plain ones: what follows one, the caller's candidates, similar items, trending and latest ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from online.core.canary import NO_ARM
from online.core.policy_document import LISTINGS, SIMILAR_POLICY
from online.core.rules.control_rules import category_rule
from online.pipeline import SlateRequest
from schemas.fields import Id, Label
from schemas.slate import (
    MAX_SLATE,
    AskIn,
    Expression,
    NextIn,
    RankIn,
    RankOut,
    SimilarIn,
    Slate,
    SlateOut,
)

from .access import require_acting_for
from .body import JSON, PathId, parse, read_body, takes
from .catalogue import same_id
from .next_cursor import continued, following
from .problem import Problem, ProblemOut
from .recommendations import LOOKED_UP, PROBLEMS, answered
from .served import find_slate
from .worker import Worker

ITEM_SURFACE = "item"
BODIES: list[type[BaseModel]] = [NextIn, RankIn, SimilarIn]
CONTINUED: dict[int | str, dict[str, Any]] = {**LOOKED_UP, 409: {"model": ProblemOut}}

RecommendationId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9a-f-]+$")]
Count = Annotated[int, Query(ge=1, le=MAX_SLATE)]


def router(worker: Worker) -> APIRouter:
    """Return the routes of these slates."""
    routes = APIRouter(tags=["Recommendations"])
    _add_next(routes, worker)
    _add_rank(routes, worker)
    _add_similar(routes, worker)
    for name in LISTINGS:
        _add_listing(routes, worker, name)
    return routes


def _add_next(routes: APIRouter, worker: Worker) -> None:
    @routes.post(
        "/v1/recommendations/{recommendation_id}/next",
        response_model=SlateOut,
        responses=CONTINUED,
        openapi_extra=takes(NextIn),
    )
    async def post_next(recommendation_id: RecommendationId, request: Request) -> Response:
        """Go on with a slate: what was asked then, without what it and those before it have shown."""
        given = parse(NextIn, await read_body(request) or b"{}")
        if given.cursor is not None:
            ask = continued(given.cursor, recommendation_id, given.n)
        else:
            ask = following(await find_slate(worker, recommendation_id), given.n)
        require_acting_for(request, ask.user_id)
        return _json(answered(worker, request, ask)[0])


def _add_rank(routes: APIRouter, worker: Worker) -> None:
    @routes.post("/v1/rank", response_model=RankOut, responses=PROBLEMS, openapi_extra=takes(RankIn))
    async def post_rank(request: Request) -> Response:
        """Put the caller's candidates in order, as a slate is: without those that may not be shown to who asks."""
        ask = parse(RankIn, await read_body(request))
        require_acting_for(request, ask.user_id)
        listed = list(dict.fromkeys(ask.candidates))
        wanted = ask.n if "n" in ask.model_fields_set else len(listed)
        document, slate = answered(
            worker, request, ask, lambda resolved: replace(resolved, listed=listed, n=min(wanted, len(listed)))
        )
        return _json({**document, **_left_out(listed, slate)})


def _left_out(listed: list[str], slate: Slate) -> dict[str, list[str]]:
    known = set(slate.candidates)
    may_be_shown = zip(slate.candidates, slate.eligible, strict=True)
    return {
        "unknown": [item for item in listed if item not in known],
        "ineligible": [item for item, is_eligible in may_be_shown if not is_eligible],
    }


def _add_similar(routes: APIRouter, worker: Worker) -> None:
    @routes.get("/v1/items/{item_id}/similar", response_model=SlateOut, responses=PROBLEMS)
    async def get_similar(request: Request, item_id: PathId, n: Count | None = None) -> Response:
        """Return items like an item: from the sessions that saw it, by vector, and from its category."""
        return _similar(request, item_id, SimilarIn() if n is None else SimilarIn(n=n))

    @routes.post(
        "/v1/items/{item_id}/similar", response_model=SlateOut, responses=PROBLEMS, openapi_extra=takes(SimilarIn)
    )
    async def post_similar(request: Request, item_id: PathId) -> Response:
        """Return items like an item, with everything that a request for a slate may say."""
        ask = parse(SimilarIn, await read_body(request) or b"{}")
        require_acting_for(request, ask.user_id)
        return _similar(request, item_id, ask)

    def _similar(request: Request, item_id: str, ask: SimilarIn) -> Response:
        if item_id not in worker.world.table.ids.codes:
            raise Problem(404, "no_item", "there is no such item; PUT it, or send events on it")
        same_id("item_id", ask.item_id, item_id)
        said = {name: getattr(ask, name) for name in ask.model_fields_set}
        filled = {"surface": ITEM_SURFACE, "policy": SIMILAR_POLICY, **said, "item_id": item_id}
        return _json(answered(worker, request, SimilarIn.model_validate(filled))[0])


def _add_listing(routes: APIRouter, worker: Worker, name: str) -> None:
    description = f"Return the {name} items, the same for everybody but for what may not be shown to who asks."

    @routes.get(f"/v1/{name}", response_model=SlateOut, responses=PROBLEMS, description=description)
    async def get_listing(
        request: Request,
        n: Count | None = None,
        surface: Label = "home",
        category: Label | None = None,
        filter: Annotated[Expression | None, Query()] = None,
        user_id: Id | None = None,
        visitor_id: Id | None = None,
        return_properties: Annotated[list[Label], Query(max_length=64)] = [],  # noqa: B006
    ) -> Response:
        asked = {
            "n": n, "surface": surface, "filter": filter, "user_id": user_id, "visitor_id": visitor_id,
            "return_properties": return_properties,
        }  # fmt: skip
        ask = AskIn.model_validate({key: value for key, value in asked.items() if value})
        return _json(answered(worker, request, ask, _as_listing(name, category))[0])


def _as_listing(name: str, category: str | None) -> Callable[[SlateRequest], SlateRequest]:
    policy = LISTINGS[name]

    def shaped(request: SlateRequest) -> SlateRequest:
        rules = request.rules if category is None else [*request.rules, category_rule(category)]
        asked = request.as_asked if category is None else {**request.as_asked, "category": category}
        return replace(
            request,
            policy=policy,
            slots=policy.slots,
            listing=name,
            rules=rules,
            as_asked=asked,
            experiment_id="",
            variant="",
            arm=NO_ARM,
        )

    return shaped


def _json(document: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(document), media_type=JSON)
