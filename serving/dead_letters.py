"""Dead letters: list, look into, redrive and discard what no flow could fold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field, model_validator

from online.core.letters import Status
from online.core.redrive import NotRedrivable
from online.dead_letters import MOST_DECIDED, PAGE, DeadLetters, Decided, Filter, NoLetter, Outcome, described, readable
from online.ports import Unavailable
from schemas.fields import Document, Edge, EpochSeconds, Id

from .body import JSON, PathId, parse, read_body, takes, who
from .problem import RETRY_AFTER_S, Problem, ProblemOut, invalid

SHOWN_ERRORS = 100
PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": ProblemOut} for code in (404, 409, 413, 422, 503)}

Partition = Annotated[int, Field(ge=0, lt=2**16)]
Text = Annotated[str, Field(max_length=1024)]
T = TypeVar("T")


class FilterIn(Edge):
    """Which dead letters are meant; what is left out does not matter."""

    topic: Id | None = None
    partition: Partition | None = None
    reason: Text | None = Field(default=None, description="A part of the reason's text, in any case")
    since: EpochSeconds | None = Field(default=None, description="Found then or later")
    until: EpochSeconds | None = Field(default=None, description="Found before")


class RedriveIn(Edge):
    """How to redrive one dead letter; without a payload as it is."""

    payload: Document | None = Field(
        default=None, description="Goes in its place: as a client would send it, or as it stood on the log"
    )
    reason: Text = ""


class DiscardIn(Edge):
    """Why one dead letter is discarded."""

    reason: Annotated[Text, Field(min_length=1)]


class _ManyIn(Edge):
    filter: FilterIn = FilterIn()
    all: bool = Field(default=False, description="Needed when the filter is empty")
    limit: Annotated[int, Field(ge=1, le=MOST_DECIDED)] = MOST_DECIDED

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.filter == FilterIn() and not self.all:
            msg = "give a filter, or all: true"
            raise ValueError(msg)
        return self


class RedriveManyIn(_ManyIn):
    """Which pending dead letters to redrive as they are, oldest first."""

    reason: Text = ""


class DiscardManyIn(_ManyIn):
    """Which pending dead letters to discard, oldest first, and why."""

    reason: Annotated[Text, Field(min_length=1)]


BODIES: list[type[BaseModel]] = [RedriveIn, DiscardIn, RedriveManyIn, DiscardManyIn]


def router(letters: DeadLetters) -> APIRouter:
    """Return the routes of the dead letters."""
    routes = APIRouter(tags=["Running it"])
    _add_reads(routes, letters)
    _add_verdicts(routes, letters)
    return routes


def _add_reads(routes: APIRouter, letters: DeadLetters) -> None:
    @routes.get("/v1/dead-letters", responses=PROBLEMS)
    async def list_letters(
        topic: Id | None = None,
        partition: Partition | None = None,
        reason: Text | None = None,
        since: Annotated[EpochSeconds | None, Query()] = None,
        until: Annotated[EpochSeconds | None, Query()] = None,
        status: Status | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = PAGE,
        cursor: Annotated[int | None, Query(ge=0)] = None,
    ) -> Response:
        """List dead letters, newest first; `next_cursor` asks for the ones before."""
        which = Filter(topic, partition, reason, since, until, status)
        page = await _answered(lambda: letters.page(which, limit=limit, cursor=cursor))
        found = [described(key, letter) for key, letter in page.letters]
        return _json({"letters": found, "next_cursor": page.cursor})

    @routes.get("/v1/dead-letters/{letter_id}", responses=PROBLEMS)
    async def show_letter(letter_id: PathId) -> Response:
        """Return a dead letter with its original bytes, as text or in base64."""
        letter, payload = await _answered(lambda: letters.show(letter_id))
        return _json({**described(letter_id, letter), **readable(payload)})


def _add_verdicts(routes: APIRouter, letters: DeadLetters) -> None:
    @routes.post("/v1/dead-letters:redrive", status_code=202, responses=PROBLEMS, openapi_extra=takes(RedriveManyIn))
    async def redrive_many(request: Request) -> Response:
        """Redrive pending letters as they are; those that still cannot be folded stay pending."""
        asked = parse(RedriveManyIn, await read_body(request))
        which, by = Filter(**asked.filter.model_dump()), who(request)
        return await _verdicts(lambda: letters.redrive_all(which, by=by, limit=asked.limit, reason=asked.reason))

    @routes.post("/v1/dead-letters:discard", status_code=202, responses=PROBLEMS, openapi_extra=takes(DiscardManyIn))
    async def discard_many(request: Request) -> Response:
        """Discard pending letters."""
        asked = parse(DiscardManyIn, await read_body(request))
        which, by = Filter(**asked.filter.model_dump()), who(request)
        return await _verdicts(lambda: letters.discard_all(which, by=by, limit=asked.limit, reason=asked.reason))

    @routes.post(
        "/v1/dead-letters/{letter_id}:redrive", status_code=202, responses=PROBLEMS, openapi_extra=takes(RedriveIn)
    )
    async def redrive(letter_id: PathId, request: Request) -> Response:
        """Redrive a letter, as it is or edited. An event keeps its id and time of receipt, and counts once."""
        asked = parse(RedriveIn, await read_body(request) or b"{}")
        edited = None if asked.payload is None else msgspec.json.encode(asked.payload)
        by = who(request)
        return await _verdicts(lambda: letters.redrive(letter_id, by=by, edited=edited, reason=asked.reason))

    @routes.post(
        "/v1/dead-letters/{letter_id}:discard", status_code=202, responses=PROBLEMS, openapi_extra=takes(DiscardIn)
    )
    async def discard(letter_id: PathId, request: Request) -> Response:
        """Discard a letter; the archive keeps it."""
        asked = parse(DiscardIn, await read_body(request))
        by = who(request)
        return await _verdicts(lambda: letters.discard(letter_id, by=by, reason=asked.reason))


async def _verdicts(call: Callable[[], Outcome]) -> Response:
    """Answer what was decided. `applied` says whether the state flow has carried it out; it will when it runs."""
    began = time.perf_counter()
    outcome = await _answered(call)
    errors = [{"id": key, "message": why} for key, why in list(outcome.refused.items())[:SHOWN_ERRORS]]
    answer = {
        "accepted": len(outcome.decided),
        "rejected": len(outcome.refused),
        "errors": errors,
        "left": outcome.left,
        "applied": outcome.is_shown,
        "took_ms": round((time.perf_counter() - began) * 1000, 3),
    }
    return Response(msgspec.json.encode(answer), 202, media_type=JSON)


async def _answered(call: Callable[[], T]) -> T:
    """Return the result of a call that may take long, in a thread; what it raises becomes a problem."""
    try:
        return await asyncio.to_thread(call)
    except NoLetter as error:
        raise Problem(404, "no_letter", str(error)) from None
    except Decided as error:
        raise Problem(409, "decided", str(error)) from None
    except NotRedrivable as error:
        raise invalid([{"code": "not_redrivable", "field": "", "message": str(error)}]) from None
    except Unavailable:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        raise Problem(503, "away", "log or state store do not answer; try again later", headers=headers) from None


def _json(document: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(document), media_type=JSON)
