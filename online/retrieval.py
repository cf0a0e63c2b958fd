"""Retrieval: each retriever names candidates for a request, best first; the union of them is ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from online.core.features import Retrieved
from online.core.leaning import Leaning
from online.core.policy_document import SOURCES
from online.core.profile import Profile
from online.core.row_lists import best_sums, united
from online.core.toplists import Toplists
from online.models.session_candidates import SessionCandidates, distinct, session_candidates, session_odds
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
    """What retrievers look at: the user at the moment, the session's rows oldest first, what both lean to, and whose
    labels and context are shared."""

    profile: Profile
    session: Rows
    leaning: Leaning
    audiences: Sequence[str]


def _in_session(world: World, query: Query, context: Rows) -> SessionCandidates | None:
    if not len(context):
        return None
    return session_candidates(
        world.sessions,
        world.rules,
        context,
        clicks=len(query.session),
        now=query.profile.now,
        own=query.profile.record.session_key or None,
    )


def _session_sources(world: World, found: SessionCandidates, context: Rows) -> dict[str, tuple[Rows, Scores]]:
    """Return what session-kNN and rules name, and the best of both by the blend, with their likelihood to be next."""
    utilities = world.blend.utilities(found.features, len(context))
    best, best_utilities = best_sums(found.rows, utilities, PER_RETRIEVER + 1)
    return {
        "session_knn": (found.by_knn, found.knn_scores),
        "rules": (found.by_rules, found.rule_scores),
        "session_blend": (best, np.exp(best_utilities - best_utilities[0])),
    }


def _direction(vectors: Vectors, query: Query) -> NDArray[np.float32] | None:
    affinities = query.profile.affinities
    items = affinities.of(0)
    liked = affinities.codes[items]  # −1 for unknown ones
    labels = np.where(liked >= 0, vectors.label_of[liked], -1) if len(liked) else liked
    return vectors.direction(vectors.label_of[query.session], labels, affinities.weights[items])


def _nearest(vectors: Vectors, direction: NDArray[np.float32]) -> tuple[Rows, Scores]:
    labels, cosines = vectors.search(direction, PER_RETRIEVER)
    rows = vectors.row_of[labels]
    is_known = rows >= 0  # an item may be in the index before this worker has read of it
    return rows[is_known], cosines[is_known].astype(np.float64)


def _affinity(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    """Find what is popular in what somebody leans to."""
    return tops.popular.apportioned(query.leaning, PER_RETRIEVER)


def _popular(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    rows = tops.popular.everybody[:PER_RETRIEVER]
    return rows, np.ones(len(rows))


def _trending(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    return tops.trending.apportioned(query.leaning, PER_RETRIEVER // 2, everybody=EVERYBODY)


def _new(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    return tops.new.apportioned(query.leaning, PER_RETRIEVER // 2, everybody=EVERYBODY)


def _audience(world: World, tops: Toplists, query: Query) -> tuple[Rows, Scores]:
    """Find what those who share a label or a value of context like more than everybody does."""
    lists = [world.liked[name] for name in query.audiences if name in world.liked]
    if not lists:
        return _none()
    rows, lifts = (np.concatenate(parts) for parts in zip(*lists, strict=True))
    return best_sums(rows, lifts, PER_RETRIEVER // 2)


def _none() -> tuple[Rows, Scores]:
    return np.empty(0, np.int32), np.empty(0)


RETRIEVERS: dict[str, Callable[[World, Toplists, Query], tuple[Rows, Scores]]] = {
    "affinity": _affinity,
    "trending": _trending,
    "popular": _popular,
    "new": _new,
    "audience": _audience,
}


def retrieve(world: World, tops: Toplists, query: Query, names: Sequence[str], only: Rows | None = None) -> Retrieved:
    """Return the union of the named retrievers' candidates, each row once, in order of row.

    With `only`, these rows are the candidates, in their order, whether or not a retriever names them.
    """
    context = distinct(query.session)
    in_session = _in_session(world, query, context) if set(SESSION_SOURCES) & set(names) else None
    together = dict.fromkeys(SESSION_SOURCES, _none())
    if in_session is not None:
        together = _session_sources(world, in_session, context)
    vectors = world.vectors.placed(world.table.ids) if world.vectors is not None and "vectors" in names else None
    direction = _direction(vectors, query) if vectors is not None else None
    together["vectors"] = _none() if vectors is None or direction is None else _nearest(vectors, direction)
    found = [together[name] if name in together else RETRIEVERS[name](world, tops, query) for name in names]
    bounds = np.array([0, *accumulate(len(rows) for rows, _ in found)])
    named, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
    current = int(context[-1]) if len(context) else -1
    skips = np.array([current if name in SESSION_SOURCES else -1 for name in names])  # where the session is already
    columns = np.array([COLUMN[name] for name in names])
    rows, scores, ranks = united(named, values, bounds, columns, skips, len(SOURCES), PER_RETRIEVER)
    if only is not None:
        rows, scores, ranks, _ = Retrieved(rows, scores, ranks, np.empty(0)).only(only)
    # An item is no less likely, and no less near, for another retriever having found it.
    if in_session is None:
        odds = np.full(len(rows), -np.inf)
    else:
        weights = world.blend.weights_for(len(context))
        odds = session_odds(in_session, rows, weights, world.sessions.session_counts, current)
    if vectors is not None and direction is not None:
        scores[:, COLUMN["vectors"]] = vectors.cosines(vectors.label_of[rows], direction)
    return Retrieved(rows, scores, ranks, odds)
