"""The ranking path: request and record in, slate out. No clock, no socket: time, seed and state are arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from online.core.features import INDEX, NAMES, Retrieved, Scene, gather
from online.core.policy import SlotPolicy, draw_slate
from online.core.policy_document import SOURCES, Policy
from online.core.record import UserRecord
from online.core.session import current_session
from online.core.toplists import Toplists
from online.retrieval import Query, retrieve
from online.world import World
from schemas.fields import SCHEMA_VERSION
from schemas.slate import Slate

NO_RECORD = UserRecord()
STATIC_ITEMS = 1000  # of the catalogue, oldest rows first, stand in when retrieval finds too little

Stopwatch = Callable[[str], None]
"""Called with a stage's name when the stage ends; what it measures with is the caller's business."""


@dataclass(frozen=True, slots=True)
class SlateRequest:
    """A request as the ranking path reads it: defaults resolved, ids and time given."""

    recommendation_id: str
    partition: int
    user_key: str | None
    surface: str
    n: int
    now: float  # the moment to rank for
    served_at: float
    seed: int
    policy: Policy
    slots: SlotPolicy  # the policy's, with the request's overrides
    item_id: str | None = None
    session_items: Sequence[str] = ()
    exclude_item_ids: Sequence[str] = ()
    exclude_seen: bool = False
    exclude_purchased: bool = True
    seed_given: bool = False
    as_asked: dict[str, Any] = field(default_factory=dict)


def recommend(
    world: World,
    request: SlateRequest,
    record: UserRecord | None,
    *,
    degraded: str = "",
    stopwatch: Stopwatch = lambda stage: None,
) -> Slate:
    """Return a slate. It is empty only when nothing is eligible.

    Args:
        world: item arrays, session index, vectors, ranker; `frozen` where another thread may replace them.
        request: the resolved request.
        record: the user's record; None when there is none or it could not be read.
        degraded: why the record could not be read, empty when it could.
        stopwatch: told when each stage ends.
    """
    known = record or NO_RECORD
    tops = world.tops or Toplists(world.table, request.now)
    session = _session_items(request, known)
    rows = _rows(world, session)
    query = Query(known, session, rows, request.now)
    found = retrieve(world, tops, query, request.policy.retrievers)
    stopwatch("retrieve")
    eligible, removed = _eligible(world, request, session, known, found.rows)
    rung, why = _rung(request, known, session, bool(eligible.any()), degraded)
    if np.count_nonzero(eligible) < request.n:
        found = _filled(world, found, request.now)
        eligible, removed = _eligible(world, request, session, known, found.rows)
    stopwatch("eligibility")
    features = gather(Scene(world.table, found, known, rows, request.now))
    stopwatch("features")
    utilities = _utilities(world, request, features)
    stopwatch("score")
    groups = np.stack([world.table.category[found.rows, 0], world.table.brand[found.rows]], axis=1)
    draw = draw_slate(utilities, np.ascontiguousarray(groups), eligible, request.n, request.slots, request.seed)
    stopwatch("slots")
    ope_why = "client seed" if request.seed_given else degraded or ("static list" if rung == "static" else "")
    return Slate(
        recommendation_id=request.recommendation_id,
        decision_id=request.recommendation_id,
        partition=request.partition,
        user_key=request.user_key,
        surface=request.surface,
        time=request.now,
        served_at=request.served_at,
        n=request.n,
        request=_asked(world, request),
        session_items=list(session),
        record_position=known.position,
        updates=dict(world.table.applied),
        model_version=world.ranker.version,
        index_version=world.vectors.version if world.vectors else 0,
        policy_id=request.policy.policy_id,
        rung=rung,
        why=why,
        tau=request.slots.tau,
        epsilon=request.slots.epsilon,
        diversity=request.slots.diversity,
        seed=request.seed,
        candidates=[world.table.ids.names[row] for row in found.rows.tolist()],
        feature_names=list(NAMES),
        source_names=list(SOURCES),
        features=features.tobytes(),
        utilities=utilities.tobytes(),
        groups=groups.tobytes(),
        eligible=eligible.astype(np.uint8).tobytes(),
        sources=found.source_bits().tobytes(),
        slots=draw.slots.tolist(),
        propensities=draw.propensities.tolist(),
        removed=removed,
        schema_version=SCHEMA_VERSION,
        ope_valid=not ope_why,
        ope_why=ope_why,
    )


def _asked(world: World, request: SlateRequest) -> dict[str, Any]:
    """Return what the client asked, without ids that are logged elsewhere or that no item has."""
    asked = {name: value for name, value in request.as_asked.items() if name != "session_items"}
    if "exclude_item_ids" in asked:
        asked["exclude_item_ids"] = [i for i in request.exclude_item_ids if i in world.table.ids.codes]
    return asked


def is_showable(world: World, slate: Slate) -> bool:
    """Say whether every item of the slate may still be shown: the catalogue may have moved on since it was drawn."""
    rows = _rows(world, [slate.candidates[i] for i in slate.slots])
    return bool(world.table.is_eligible(rows, slate.time).all())


def _session_items(request: SlateRequest, record: UserRecord) -> list[str]:
    items = list(request.session_items) or current_session(record.recent, request.now)
    if request.item_id is not None and (not items or items[-1] != request.item_id):
        items.append(request.item_id)
    return items


def _rows(world: World, items: Sequence[str]) -> NDArray[np.int32]:
    codes = world.table.ids.codes
    return np.array([codes[item] for item in items if item in codes], np.int32)


def _rung(
    request: SlateRequest, record: UserRecord, session: Sequence[str], is_found: bool, degraded: str
) -> tuple[str, str]:
    """Name the rung of the ladder that answers, and why it is not the personal one."""
    if not is_found:
        return "static", degraded or "no retriever found anything that may be shown"
    if record.counts:
        return "personal", ""
    reason = degraded or ("no events of this user yet" if request.user_key else "the request names no user")
    return ("session", reason) if session else ("popularity", reason)


def _filled(world: World, found: Retrieved, now: float) -> Retrieved:
    """Return the candidates together with items that no retriever named: the static list, the last rung."""
    everything = np.arange(len(world.table), dtype=np.int32)
    static = np.setdiff1d(everything[world.table.is_eligible(everything, now)][:STATIC_ITEMS], found.rows)
    return found.joined(Retrieved.unsourced(static))


def _eligible(
    world: World, request: SlateRequest, session: Sequence[str], record: UserRecord, rows: NDArray[np.int32]
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return the support of the draw, and how many candidates each reason took from it."""
    masks = {
        "catalogue": world.table.is_eligible(rows, request.now),
        "hidden": ~np.isin(rows, _rows(world, list(record.hidden))),
        "excluded": ~np.isin(rows, _rows(world, request.exclude_item_ids)),
        "current": ~np.isin(rows, _rows(world, session[-1:])),  # what the user looks at right now
    }
    if request.exclude_purchased:
        masks["purchased"] = ~np.isin(rows, _rows(world, list(record.purchased)))
    if request.exclude_seen:
        masks["seen"] = ~np.isin(rows, _rows(world, list(record.seen)))
    removed = {reason: int(np.count_nonzero(~mask)) for reason, mask in masks.items() if not mask.all()}
    return np.logical_and.reduce(list(masks.values())), removed


def _utilities(world: World, request: SlateRequest, features: NDArray[np.float32]) -> NDArray[np.float64]:
    if request.policy.ranker == "popularity":
        return features[:, INDEX["popularity"]].astype(np.float64)
    return world.ranker.utilities(features, request.surface, request.policy.values.get(request.surface))
