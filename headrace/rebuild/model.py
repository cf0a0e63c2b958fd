"""The learned models, learned anew from the recorded past and compared with the ones that serve.

What differs by more than the tolerance, is missing or damaged is published as the next version. That fences the flow
which keeps the model: it goes on from the new one.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows import index, learn
from flows.artifact import Model, newest_sound
from flows.state import STATE_VIEW
from headrace.rebuild.target import Ports, Target, targets
from online.adapters.usearch_index import build_usearch
from online.core.catalogue import ITEMS
from online.core.example import EXAMPLES
from online.core.ranker import largest_difference, read_ranker
from online.core.update import UPDATES, Update, decode_update, encode_update
from online.models.item_vectors import IDS_FILE, MATRIX_FILE
from online.ports import START, Artifact, Batch, Message
from online.world import RANKER, RANKER_FILE, VECTORS
from replay.history import history

WEIGHT_TOLERANCE = 1e-6  # by which a weight of the ranker may differ: examples are learned in the same order
SHARED_TOLERANCE = 0.5  # of the ten nearest items, how many are to be the same: clicks of partitions are merged anew
NEAREST = 10
SAMPLE = 200  # items whose neighbours are compared

Files = Mapping[str, Any]


def relearn_models(ports: Ports, partitions: int, progress: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Learn the ranker and the item vectors anew; return by name how they compare and what was published."""
    documents: dict[str, dict[str, Any]] = {}
    for name, relearn, compare in (
        (RANKER, _relearned_ranker, _compared_rankers),
        (VECTORS, _relearned_vectors, _compared_vectors),
    ):
        newest, running = ports.artifacts.newest(name), newest_sound(ports.artifacts, name)
        model, positions = relearn(ports, partitions, running)
        files = model.files()
        if files is None or (running is None and not any(positions.values())):  # nothing was ever learned
            documents[name] = {"equal": running is None, "published": None}
            continue
        found = {"equal": False} if running is None else compare(running, files)
        version = None
        if not found["equal"]:
            lineage = {"positions": positions, **model.summary()}
            version = ports.artifacts.publish(name, files, lineage, after=newest).version
        documents[name] = {**found, "published": version}
        progress(f"{name}: {documents[name]}")
    return documents


def _relearned_ranker(ports: Ports, partitions: int, running: Artifact | None) -> tuple[Model, dict[str, str]]:
    until = None if running is None else running.lineage["positions"][f"{EXAMPLES}/0"]
    model, last = learn.restored(None), START
    for batch in history(ports.log, ports.warehouse, EXAMPLES, 0, until):
        model.fold(batch)
        last = batch.messages[-1].position
    return model, {f"{EXAMPLES}/0": last}


def _compared_rankers(running: Artifact, files: Files) -> dict[str, Any]:
    live = read_ranker(running.files[RANKER_FILE].read_bytes(), "live")
    anew = read_ranker(files[RANKER_FILE], "anew")
    apart = largest_difference(live, anew)
    return {"equal": apart <= WEIGHT_TOLERANCE, "largest_difference": apart}


def _relearned_vectors(ports: Ports, partitions: int, running: Artifact | None) -> tuple[Model, dict[str, str]]:
    """Learn every click in the order of acceptance, as far as the state view has folded; updates follow behind."""
    model, last = index.restored(None, build_index=build_usearch), START
    for batch in history(ports.log, ports.warehouse, ITEMS, 0, None):
        model.fold(batch)
        last = batch.messages[-1].position
    sources = [_touches(ports, target) for target in targets(partitions) if target.view == STATE_VIEW]
    for _, update in heapq.merge(*sources, key=itemgetter(0)):
        model.fold(Batch(UPDATES, 0, [Message(START, encode_update(update))]))
    return model, {f"{ITEMS}/0": last, f"{UPDATES}/0": START}


def _touches(ports: Ports, target: Target) -> Iterator[tuple[float, Update]]:
    """Yield what the state view of a partition told of sessions, and its time; the last one is numbered as its is."""
    live, seq, at = target.live(ports), 0, 0.0
    for folded in target.refold(ports, from_start=True).advance(ports.log, ports.warehouse, live):
        for topic, _, payload in folded.outbox:
            if topic == UPDATES:
                touches = decode_update(payload).touches
                seq, at = seq + 1, touches[0].time if touches else at
                yield at, Update(target.partition, seq, {}, touches)
    yield at, Update(target.partition, max(seq + 1, live.seq), {}, [])


def _compared_vectors(running: Artifact, files: Files) -> dict[str, Any]:
    """Compare the nearest items of a sample: vectors themselves may be turned against one another."""
    live = _unit_vectors(running.files[IDS_FILE].read_bytes(), running.files[MATRIX_FILE].read_bytes())
    anew = _unit_vectors(files[IDS_FILE], files[MATRIX_FILE])
    both = sorted(live.keys() & anew.keys())
    if len(both) <= NEAREST:
        return {"equal": live.keys() == anew.keys(), "neighbours_shared": None}
    here, there = (np.stack([vectors[item] for item in both]) for vectors in (live, anew))
    sample = np.linspace(0, len(both) - 1, min(SAMPLE, len(both))).astype(int)
    shared = float(np.mean([len(_nearest(here, i) & _nearest(there, i)) / NEAREST for i in sample]))
    return {"equal": live.keys() == anew.keys() and shared >= SHARED_TOLERANCE, "neighbours_shared": round(shared, 4)}


def _unit_vectors(ids: bytes, matrix: bytes) -> dict[str, NDArray[np.float32]]:
    return dict(zip(msgspec.json.decode(ids, type=list[str]), np.load(io.BytesIO(matrix)), strict=True))


def _nearest(vectors: NDArray[np.float32], row: int) -> set[int]:
    cosines = vectors @ vectors[row]
    cosines[row] = -np.inf
    return set(np.argpartition(-cosines, NEAREST)[:NEAREST].tolist())
