"""Experiments beside their documents: stop one, and what it says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from online.control.control import Control
from online.control.experiment import EXPERIMENT, split_since
from online.core.experiment_results import document, results
from online.core.holdout import EVERYBODY, HOLDOUT
from online.experiment_tallies import count_tallies
from online.ports import Warehouse
from schemas.control import ControlChange
from schemas.fields import EpochSeconds

from .body import JSON, parse, read_body, takes, who
from .control import CHANGED, PROBLEMS, DocumentId, WhyIn, changed
from .problem import Problem
from .warehouse import from_warehouse
from .worker import Worker

HOLDOUT_METRICS = ("click_rate", "purchase_rate", "revenue_per_unit")
Since = Annotated[EpochSeconds | None, Query(description="Count from here; default: since units are dealt as now")]


@dataclass(frozen=True, slots=True)
class _Split:
    """Between which variants units are shared out, and since when."""

    shares: dict[str, float]
    control: str
    metrics: Sequence[str]
    since: float
    about: dict[str, Any]


def router(worker: Worker) -> APIRouter:
    """Return the routes that experiments have beside those of every kind of document."""
    routes = APIRouter(tags=["Running it"])

    @routes.post("/v1/experiments/{document_id}:stop", responses=CHANGED, openapi_extra=takes(WhyIn))
    async def stop(document_id: DocumentId, request: Request) -> Response:
        """End an experiment: the surface's policy answers again. Its results stay, and PUT lets it go on."""
        reason = parse(WhyIn, await read_body(request) or b"{}").reason
        standings = worker.world.control.standings(EXPERIMENT, document_id)
        if not standings:
            raise _unknown()
        stopped = {**standings[-1].document, "status": "stopped"}
        said = ControlChange(kind=EXPERIMENT.name, id=document_id, document=stopped, by=who(request), reason=reason)
        return await changed(worker, said)

    @routes.get("/v1/experiments/{document_id}/results", responses=PROBLEMS)
    async def get_results(document_id: DocumentId, since: Since = None) -> Response:
        """Compare the variants of an experiment, whenever you like; of `holdout`, everybody with the held out."""
        split = _split(worker, document_id)
        began = split.since if since is None else since
        now = time.time()
        found = await from_warehouse(worker, lambda warehouse: _counted(warehouse, document_id, split, began, now))
        answer = {"id": document_id, **split.about, "since": began, "until": now, **found}
        return Response(msgspec.json.encode(answer), media_type=JSON)

    return routes


def _unknown() -> Problem:
    return Problem(404, "no_experiment", "there is no such experiment: PUT it first")


def _split(worker: Worker, experiment_id: str) -> _Split:
    if experiment_id == HOLDOUT:
        share = worker.ports.holdout
        if share == 0.0:
            raise Problem(404, "no_holdout", "nobody is held out: HEADRACE_HOLDOUT is 0")
        shares = {HOLDOUT: share, EVERYBODY: 1.0 - share}
        return _Split(shares, HOLDOUT, HOLDOUT_METRICS, 0.0, {"status": "running"})
    return _of_document(worker.world.control, experiment_id)


def _of_document(control: Control, experiment_id: str) -> _Split:
    experiment = control.of(EXPERIMENT).get(experiment_id)
    if experiment is None:
        raise _unknown()
    return _Split(
        experiment.shares,
        experiment.control,
        experiment.metrics or control.surface(experiment.surface).metrics,
        split_since(control.entry(EXPERIMENT.name, experiment_id)),
        {"surface": experiment.surface, "status": "running" if experiment.is_running else "stopped"},
    )


def _counted(warehouse: Warehouse, experiment_id: str, split: _Split, since: float, until: float) -> dict[str, Any]:
    variants = list(split.shares)
    counted = count_tallies(warehouse, experiment_id, variants, split.metrics, since=since, until=until)
    found = results(split.shares, split.control, split.metrics, counted.tallies, counted.distinct_items)
    return {**document(found), "excluded": counted.excluded}
