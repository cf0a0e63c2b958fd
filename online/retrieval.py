"""Retrieval: each retriever names candidates for a request, best first; the union of them is ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from online.core.features import Retrieved
from online.core.leaning import Leaning, apportioned
from online.core.policy_document import SOURCES
from online.core.record import UserRecord
from online.core.toplists import Toplist, Toplists
from online.models.session_candidates import SessionCandidates, distinct, lasting_features, session_candidates
from online.vectors import Vectors
from online.world import World

PER_RETRIEVER = 100
EVERYBODY = 0.5  # the strength of what is so for everybody, beside what somebody leans to
SESSION_SOURCES = ("session_knn", "rules", "session_blend")
COLUMN = {name: i for i, name in enumerate(SOURCES)}

Rows = NDArray[np.int32]
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Query:
    """What retrievers look at: the record, the session's items oldest first, what both lean to, whose labels and
    context are shared, and the moment."""

    record: UserRecord
    session_items: Sequence[str]
    session_rows: Rows
    leaning: Leaning
    audiences: Sequence[str]
    now: float


def _in_session(world: World, query: Query, context: Rows) -> SessionCandidates | None:
    if not len(context):
        return None
    return session_candidates(
        world.sessions,
        world.rules,
        context,
        clicks=len(query.session_rows),
        now=query.now,
        own=query.record.session_key or None,
    )


def _session_sources(world: World, found: SessionCandidates, context: Rows) -> dict[str, tuple[Rows, Scores]]:
    """Return what session-kNN and rules name, and the best of both by the blend, with their likelihood to be next."""
    utilities = world.blend.utilities(found.features, len(context))
    best = np.argsort(-utilities, kind="stable")
    ranked = {
        "session_knn": (found.by_knn, found.knn_scores.astype(np.float64)),
        "rules": (found.by_rules, found.rule_scores),
        "session_blend": (found.rows[best], np.exp(utilities[best] - utilities[best[0]])),
    }
    return {name: _behind(context[-1], *source) for name, source in ranked.items()}


def _behind(current: np.int32, rows: Rows, scores: Scores) -> tuple[Rows, Scores]:
    """Return the best but the item a session is at, which is shown to nobody."""
    is_other = rows != current
    return rows[is_other][:PER_RETRIEVER], scores[is_other][:PER_RETRIEVER]


def _odds(world: World, found: SessionCandidates, context: Rows, rows: Rows) -> Scores:
    """Return how likely rows are to be next by the blend: log-odds to the likeliest. The present item is not."""
    odds = world.blend.utilities(lasting_features(found, rows, world.sessions), len(context))
    odds[rows == context[-1]] = -np.inf
    best = odds.max(initial=-np.inf)
    return odds - best if np.isfinite(best) else odds


def _nearest(world: World, vectors: Vectors, direction: NDArray[np.float32]) -> tuple[Rows, Scores]:
    labels, cosines = vectors.search(direction, PER_RETRIEVER)
    codes = world.table.ids.codes
    rows = np.array([codes.get(vectors.ids[label], -1) for label in labels.tolist()], np.int32)
    is_known = rows >= 0  # an item may be in the index before this worker has read of it
    return rows[is_known], cosines[is_known].astype(np.float64)


def _affinity(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    """Find what is popular in what somebody leans to."""
    return apportioned(_segments(tops.popular, query.leaning), PER_RETRIEVER)


def _popular(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    rows = tops.popular.everybody[:PER_RETRIEVER]
    return rows, np.ones(len(rows))


def _trending(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    return _for_everybody_and(tops.trending, query.leaning)


def _new(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    return _for_everybody_and(tops.new, query.leaning)


def _audience(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    """Find what those who share a label or a value of context like more than everybody does."""
    lists = [world.liked[name] for name in query.audiences if name in world.liked]
    if not lists:
        return _none()
    rows, at = np.unique(np.concatenate([liked.rows for liked in lists]), return_inverse=True)
    lift = np.bincount(at, np.concatenate([liked.lift for liked in lists]), len(rows))
    best = np.lexsort((rows, -lift))[: PER_RETRIEVER // 2]
    return rows[best].astype(np.int32), lift[best].astype(np.float64)


def _for_everybody_and(toplist: Toplist, leaning: Leaning) -> tuple[Rows, Scores]:
    return apportioned([(EVERYBODY, toplist.everybody), *_segments(toplist, leaning)], PER_RETRIEVER // 2)


def _segments(toplist: Toplist, leaning: Leaning) -> list[tuple[float, Rows]]:
    return [
        (strength, lists[code])
        for lists, strengths in zip(toplist.by_facet, leaning, strict=True)
        for code, strength in strengths.items()
        if code < len(lists)  # a facet may be newer than the lists
    ]


def _none() -> tuple[Rows, Scores]:
    return np.empty(0, np.int32), np.empty(0)


RETRIEVERS: dict[str, Callable[[World, Toplists, Query], tuple[Rows, Scores]]] = {
    "affinity": _affinity,
    "trending": _trending,
    "popular": _popular,
    "new": _new,
    "audience": _audience,
}


def retrieve(world: World, tops: Toplists, query: Query, names: Sequence[str]) -> Retrieved:
    """Return the union of the named retrievers' candidates, each row once, in order of row."""
    context = distinct(query.session_rows)
    in_session = _in_session(world, query, context) if set(SESSION_SOURCES) & set(names) else None
    together = dict.fromkeys(SESSION_SOURCES, _none())
    if in_session is not None:
        together = _session_sources(world, in_session, context)
    vectors = world.vectors if "vectors" in names else None
    direction = vectors.query(query.record, query.session_items) if vectors is not None else None
    together["vectors"] = _none() if vectors is None or direction is None else _nearest(world, vectors, direction)
    found = {name: together[name] if name in together else RETRIEVERS[name](world, tops, query) for name in names}
    rows = np.unique(np.concatenate([r for r, _ in found.values()])) if found else np.empty(0, np.int32)
    union = Retrieved.unsourced(rows.astype(np.int32))
    for name, (own, values) in found.items():
        at, column = np.searchsorted(rows, own)[::-1], COLUMN[name]  # backwards: a row named twice has its better rank
        union.ranks[at, column] = np.arange(len(own), 0, -1)
        union.scores[at, column] = values[::-1]
    # An item is no less likely, and no less near, for another retriever having found it.
    if in_session is not None:
        union.odds[:] = _odds(world, in_session, context, union.rows)
    if vectors is not None and direction is not None:
        items = [world.table.ids.names[row] for row in union.rows.tolist()]
        union.scores[:, COLUMN["vectors"]] = vectors.cosines(items, direction)
    return union
