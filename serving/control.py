"""Policies, surfaces, rules, experiments: look at them, change them, go back; answered once workers do so."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, BeforeValidator, Field

from online.control.canary import CANARY, CanaryDocument, moved
from online.control.control import KINDS, Control
from online.control.experiment import EXPERIMENT, ExperimentIn
from online.control.kind import Kind
from online.control.policy import POLICY, PolicyIn
from online.control.rule import RULE, RuleIn
from online.control.surface import SURFACE, SurfaceIn
from online.core.control import CONTROL, Done
from schemas.control import ControlChange, encode_change
from schemas.fields import PRINTABLE, Edge, Label

from .acknowledgement import acknowledged, keep
from .body import JSON, parse, read_body, takes, who
from .problem import Problem, ProblemOut, invalid
from .slashes import plain
from .worker import Worker

MOST_DOCUMENTS = 1000  # of a kind
DocumentId = Annotated[str, BeforeValidator(plain), Path(min_length=1, max_length=128, pattern=PRINTABLE)]


Reason = Annotated[str, Field(max_length=1024, description="Kept with the change")]


class ActivateIn(Edge):
    """The policy that is to answer on a surface."""

    policy: Label
    reason: Reason = ""


class WhyIn(Edge):
    """Why something is changed."""

    reason: Reason = ""


class DoneOut(BaseModel):
    """One change of a document; `version` is the one that was current behind it, None when there was none."""

    action: str
    version: int | None
    by: str
    at: float
    reason: str


class DocumentOut(BaseModel):
    """A document as it stands; `before` are the versions that rollbacks lead to, the next one last."""

    id: str
    version: int
    built_in: bool
    document: dict[str, Any]
    before: list[int]
    changes: list[DoneOut]


class ChangedOut(BaseModel):
    """A change: what stands behind it, which workers apply it, and which do not yet, where that is known.

    `version` and `document` are None where none is left; `control_version` is the change's position in the log.
    """

    id: str
    version: int | None
    document: dict[str, Any] | None
    control_version: str | None
    applied_by: list[str]
    lagging: list[str] | None
    took_ms: float


BODIES: list[type[BaseModel]] = [PolicyIn, SurfaceIn, RuleIn, ExperimentIn, ActivateIn, WhyIn]
PROBLEMS: dict[int | str, dict[str, Any]] = {code: {"model": ProblemOut} for code in (404, 409, 413, 422, 503)}
CHANGED: dict[int | str, dict[str, Any]] = {**PROBLEMS, 200: {"model": ChangedOut}, 202: {"model": ChangedOut}}


def router(worker: Worker) -> APIRouter:
    """Return the routes of policies, surfaces, rules and experiments."""
    routes = APIRouter(tags=["Running it"])
    _add_kind(routes, worker, POLICY, "policies")
    _add_kind(routes, worker, SURFACE, "surfaces")
    _add_kind(routes, worker, RULE, "rules")
    _add_kind(routes, worker, EXPERIMENT, "experiments")

    @routes.post("/v1/surfaces/{document_id}:activate", responses=CHANGED, openapi_extra=takes(ActivateIn))
    async def activate(document_id: DocumentId, request: Request) -> Response:
        """Let another policy answer on a surface; all else about the surface stays."""
        asked = parse(ActivateIn, await read_body(request))
        standing = worker.world.control.standings(SURFACE, document_id)
        document = {**standing[-1].document} if standing else SurfaceIn().model_dump(mode="json")
        said = ControlChange(
            kind=SURFACE.name,
            id=document_id,
            document={**document, "policy": asked.policy},
            by=who(request),
            reason=asked.reason,
        )
        return await changed(worker, said)

    return routes


def _add_kind(routes: APIRouter, worker: Worker, kind: Kind[Any], plural: str) -> None:
    path, name = f"/v1/{plural}/{{document_id}}", kind.name
    one = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"

    @routes.get(f"/v1/{plural}", responses=PROBLEMS, description=f"List the {plural} as they stand, by id.")
    async def list_() -> Response:
        control = worker.world.control
        found = [described(control, kind, document_id) for document_id in sorted(control.ids(name))]
        return Response(msgspec.json.encode({plural: found, "control_version": control.version}), media_type=JSON)

    @routes.get(path, response_model=DocumentOut, responses=PROBLEMS, description=f"Return {one} as it stands.")
    async def get(document_id: DocumentId) -> Response:
        control = worker.world.control
        _known(control, kind, document_id)
        return Response(msgspec.json.encode(described(control, kind, document_id)), media_type=JSON)

    put_description = (
        f"Write a new version of {one}. 200: every live worker applies it; 202 names those that do not yet."
    )

    @routes.put(path, responses=CHANGED, openapi_extra=takes(kind.model), description=put_description)
    async def put(document_id: DocumentId, request: Request) -> Response:
        document = parse(kind.model, await read_body(request)).model_dump(mode="json")
        return await changed(worker, ControlChange(kind=name, id=document_id, document=document, by=who(request)))

    delete_description = f"Take {one} away; of a built-in one what is built in is left."

    @routes.delete(path, responses=CHANGED, description=delete_description)
    async def delete(document_id: DocumentId, request: Request) -> Response:
        control = worker.world.control
        _known(control, kind, document_id)
        if control.standings(kind, document_id)[-1].is_built_in:
            raise Problem(409, "built_in", f"this {name} is built in: PUT another version in its place")
        return await changed(worker, ControlChange(kind=name, id=document_id, by=who(request)))

    rollback_description = f"Go back to the version of {one} that was current before; again: further back."

    @routes.post(f"{path}:rollback", responses=CHANGED, openapi_extra=takes(WhyIn), description=rollback_description)
    async def rollback(document_id: DocumentId, request: Request) -> Response:
        reason = parse(WhyIn, await read_body(request) or b"{}").reason
        by = who(request)
        change = ControlChange(kind=name, id=document_id, is_rollback=True, by=by, reason=reason)
        if kind is SURFACE:
            change = _canary_stop(worker.world.control, change) or change
        return await changed(worker, change)


async def changed(worker: Worker, wanted: ControlChange) -> Response:
    """Make a change, and answer once every live worker applies it, or a second has passed.

    Args:
        worker: where it is made.
        wanted: the change, but for its revision and time.

    Raises:
        Problem: 409 or 422, it cannot be made like this; 503, it could not be kept.
    """
    began, control = time.perf_counter(), worker.world.control
    kind, document_id = KINDS[wanted.kind], wanted.id
    revision = control.entry(kind.name, document_id).revision + 1
    change = msgspec.structs.replace(wanted, revision=revision, at=time.time())
    expected = control.applied(change, control.version)
    _check(kind, change, control, expected)
    await keep(worker, [(CONTROL, 0, encode_change(change))])
    found = await acknowledged(worker, CONTROL, lambda: _done(worker.world.control, change) is not None)
    if found.position is not None and not _is(_done(worker.world.control, change), change):
        raise Problem(409, "changed_meanwhile", "another change of it came first: look at it, and send yours again")
    standing = expected.standings(kind, document_id)
    answer = ChangedOut(
        id=document_id,
        version=standing[-1].version if standing else None,
        document=dict(standing[-1].document) if standing else None,
        control_version=found.position,
        applied_by=found.applied_by,
        lagging=found.lagging,
        took_ms=round((time.perf_counter() - began) * 1000, 3),
    )
    return Response(answer.model_dump_json(), found.status, media_type=JSON)


def described(control: Control, kind: Kind[Any], document_id: str) -> dict[str, Any]:
    """Return a document that stands, with what was done to it."""
    standings = control.standings(kind, document_id)
    standing, first = standings[-1], int(document_id in control.built_in[kind.name])
    return {
        "id": document_id,
        "version": standing.version,
        "built_in": standing.is_built_in,
        "document": standing.document,
        "before": [one.version for one in standings[:-1]],
        "changes": [
            {
                "action": done.action,
                "version": done.number + first or None,
                "by": done.by,
                "at": done.at,
                "reason": done.reason,
            }
            for done in control.entry(kind.name, document_id).done
        ],
    }


def _known(control: Control, kind: Kind[Any], document_id: str) -> None:
    if document_id not in control.ids(kind.name):
        raise Problem(404, f"no_{kind.name}", f"there is no such {kind.name}: PUT it first")


def _check(kind: Kind[Any], change: ControlChange, control: Control, expected: Control) -> None:
    """Raise the problem of a change that must not be made."""
    value = expected.of(kind).get(change.id)
    if change.is_rollback:
        _known(control, kind, change.id)
        if value is None or not control.entry(kind.name, change.id).versions:
            raise Problem(409, "no_version_before", f"this {kind.name} has no version before: it is the first one")
    complaint = kind.complaint(change.id, value, expected)
    if complaint and change.document is not None:
        field, _, message = complaint.rpartition(": ") if ": " in complaint else ("", "", complaint)
        raise invalid([{"code": "unknown_reference", "field": field, "message": message}])
    if complaint:
        raise Problem(409, "in_use", complaint)
    if len(expected.ids(kind.name)) > MOST_DOCUMENTS:
        raise Problem(409, "too_many", f"there are {MOST_DOCUMENTS} documents of the kind: delete some first")


def _canary_stop(control: Control, rollback: ControlChange) -> ControlChange | None:
    """Return what a rollback of a surface is while a canary has a share of its users: that the canary is stopped."""
    if control.canary(control.surface(rollback.id)) is None:
        return None
    document = CanaryDocument.model_validate(control.standings(CANARY, rollback.id)[-1].document)
    stopped = moved(document, "stopped", rollback.reason or "the surface was rolled back")
    return ControlChange(
        kind=CANARY.name,
        id=rollback.id,
        document=stopped.model_dump(mode="json"),
        by=rollback.by,
        reason=rollback.reason,
    )


def _done(control: Control, change: ControlChange) -> Done | None:
    """Return the change that was made in the place of one; None before any was."""
    entry = control.entry(change.kind, change.id)
    if entry.revision < change.revision:
        return None
    return next((done for done in entry.done if done.revision == change.revision), entry.done[0])


def _is(done: Done | None, change: ControlChange) -> bool:
    return done is not None and (done.revision, done.by, done.at) == (change.revision, change.by, change.at)
