"""`headrace bench scoring`: features and utilities of a request's candidates, and River's own predictions beside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.bench.measure import headed, median, spread
from headrace.bench.stream import Stream, messages
from online.core.example import Example
from online.core.features import NAMES, Retrieved, Scene, gather
from online.core.item_table import ItemTable
from online.core.known import known
from online.core.leaning import leaning
from online.core.partition import EVENTS, USER, PartitionFold
from online.core.policy_document import SOURCES
from online.core.profile import Profile
from online.core.rates import Rates
from online.core.record import UserRecord
from online.core.toplists import Toplists
from online.core.update import UPDATES, decode_update
from online.models.click_ranker import ClickRanker
from online.models.slate_rows import slate_rows
from online.ports import Batch, Message
from online.retrieval import Query, retrieve
from online.world import World

CANDIDATES = 200
SLATES_LEARNED = 300
REQUESTS = 200  # timed in each repeat

METHOD = (
    "Events of the bench's stream are folded and retrieved from as in serving; each request keeps 200 candidates. "
    "features_us: the names of the user record resolved, and the feature matrix; score_us: the exported ranker over "
    "it, River's model having learned from slates with seeded clicks; river_us: River's own predict_proba_one for "
    "each of the 200, river_dicts_us: making the dictionaries it reads. CPU time of one thread per request, medians "
    "over repeats in which the ways take turns. max_difference: of the probabilities."
)


def scoring(
    *,
    users: int = 2000,
    items: int = 10_000,
    history: int = 60_000,
    repeats: int = 7,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the scoring of 200 candidates.

    Args:
        users: of the stream.
        items: of the catalogue.
        history: events folded before.
        repeats: each over 200 requests.
        seed: of stream and clicks.
        progress: told what is going on.
    """
    progress(f"folding {history} events")
    scenes = _scenes(Stream(users=users, items=items, seed=seed), history)
    matrices = [gather(scene) for scene in scenes]
    progress("learning")
    learner = _learned(matrices, seed)
    ranker = learner.export("bench")
    rows = [_dicts(matrix) for matrix in matrices]
    ways: dict[str, Callable[[int], object]] = {
        "features_us": lambda i: gather(_asked(scenes[i])),
        "score_us": lambda i: ranker.utilities(matrices[i]),
        "features_and_score_us": lambda i: ranker.utilities(gather(_asked(scenes[i]))),
        "river_us": lambda i: [learner.predict_one(row) for row in rows[i]],
        "river_dicts_us": lambda i: _dicts(matrices[i]),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeats):
        progress(f"repeat {number + 1} of {repeats}")
        for name, way in ways.items():
            began = time.thread_time()
            for i in range(len(scenes)):
                way(i)
            took[name].append((time.thread_time() - began) / len(scenes) * 1e6)
    document: dict[str, Any] = {"candidates": CANDIDATES, "features": len(NAMES)}
    for name, values in took.items():
        document |= {name: median(values, 1), f"{name}_spread": spread(values, 1)}
    document["max_difference"] = max(
        float(np.abs(1.0 / (1.0 + np.exp(-ranker.utilities(m))) - [learner.predict_one(r) for r in given]).max())
        for m, given in zip(matrices, rows, strict=True)
    )
    return headed(METHOD, len(scenes) * repeats, document)


def _asked(scene: Scene) -> Scene:
    """Return the scene as a request makes it: the record is resolved anew."""
    profile = Profile.of(scene.table, scene.profile.record, scene.profile.now)
    return Scene(scene.table, scene.rates, scene.found, profile, scene.session)


def _dicts(matrix: NDArray[np.float32]) -> list[dict[str, float]]:
    return [dict(zip(NAMES, row, strict=True)) for row in matrix.tolist()]


def _scenes(stream: Stream, history: int) -> list[Scene]:
    """Fold the history and return scenes of users in session, each with 200 candidates."""
    world, records, now = _folded(stream, history)
    tops, rates = Toplists(world.table, now), Rates(world.table)
    filler = np.arange(len(world.table), dtype=np.int32)
    scenes = []
    for record in records:
        session = [touch.item_id for touch in record.recent[-5:]]
        if len(session) < 2:
            continue
        rows = world.table.rows(session)
        profile = Profile.of(world.table, record, now)
        query = Query(profile, rows, leaning(world.table, profile, rows), ())
        found = retrieve(world, tops, query, SOURCES)
        if len(found.rows) < CANDIDATES:
            found = found.joined(Retrieved.unsourced(np.setdiff1d(filler, found.rows)[:CANDIDATES].astype(np.int32)))
        kept = Retrieved._make(column[:CANDIDATES] for column in found)
        scenes.append(Scene(world.table, rates, kept, profile, rows))
        if len(scenes) == REQUESTS:
            break
    return scenes


def _folded(stream: Stream, history: int) -> tuple[World, list[UserRecord], float]:
    world = World(ItemTable(partitions=1))
    for item in stream.catalogue(0.0):
        world.table.put(item)
    events = list(stream.events(history))
    kept = [Message(f"{i:020d}", payload) for i, (_, payload) in enumerate(messages(events, 1))]
    fold = PartitionFold(0, lambda family, keys: [None] * len(keys))
    folded = fold.fold(Batch(EVENTS, 0, kept), 1)
    for topic, _, payload in folded.outbox:
        if topic == UPDATES:
            world.apply(decode_update(payload))
    now = events[-1].timestamp
    records = [known(payload, now) for payload in folded.writes[USER].values()]
    return world, [record for record in records if record is not None], now


def _learned(matrices: list[NDArray[np.float32]], seed: int) -> ClickRanker:
    rng, learner = np.random.default_rng(seed), ClickRanker()
    for number in range(SLATES_LEARNED):
        shown = matrices[number % len(matrices)][rng.integers(CANDIDATES, size=10)]
        learner.learn_one(slate_rows(_example(number, shown, (rng.random(len(shown)) < 0.1).tolist())))
    return learner


def _example(number: int, shown: NDArray[np.float32], clicked: list[bool]) -> Example:
    return Example(
        recommendation_id=f"0-{number}",
        partition=0,
        surface="home",
        time=0.0,
        model_version="",
        feature_names=list(NAMES),
        features=shown.tobytes(),
        positions=list(range(1, len(shown) + 1)),
        clicked=clicked,
    )
