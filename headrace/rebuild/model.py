"""The learned models, learned anew from the recorded past and compared with the ones that serve.

What differs by more than the tolerance, is missing or damaged is published as the next version. That fences the flow
which keeps the model: it goes on from the new one.
"""

from __future__ import annotations

import heapq
import io
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows import blend, index, learn
from flows.artifact import Model, newest_sound
from flows.state import STATE_VIEW
from headrace.rebuild.target import Ports, Target, targets
from online.adapters.usearch_index import build_usearch
from online.core.catalogue import ITEMS
from online.core.example import EXAMPLES
from online.core.ranker import largest_difference, read_ranker
from online.core.update import UPDATES, SessionTouch, Update, decode_update, encode_update
from online.models.item_vectors import IDS_FILE, MATRIX_FILE
from online.models.session_blend import BLEND_FILE, SessionBlend
from online.ports import START, Artifact, Batch, Message
from online.world import BLEND, RANKER, RANKER_FILE, VECTORS
from replay.history import history

WEIGHT_TOLERANCE = 1e-6  # by which a weight of the ranker may differ: examples are learned in the same order
SHARED_TOLERANCE = 0.5  # of the ten nearest items, how many are to be the same: clicks of partitions are merged anew
STRENGTH_TOLERANCE = 0.5  # length of the difference of the blend's strengths by theirs: as above; on a few hundred
# clicks that follow no pattern the order makes .4, on 12,000 real ones .1, and half of the clicks lost .4
CLICKS_TOLERANCE = 0.1  # by which the number of clicks it has learned may differ
NEAREST = 10
ANEW = -1  # stands for the partition of what is learned anew: the numbers of its updates are no commits'
SAMPLE = 200  # items whose neighbours are compared

Files = Mapping[str, Any]


def relearn_models(ports: Ports, partitions: int, progress: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Learn ranker, item vectors and session blend anew; return by name how they compare and what was published."""
    documents: dict[str, dict[str, Any]] = {}
    for name, relearn, compare in (
        (RANKER, _relearned_ranker, _compared_rankers),
        (VECTORS, _relearned_vectors, _compared_vectors),
        (BLEND, _relearned_blend, _compared_blends),
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
    active = "" if running is None else running.lineage.get("active", learn.ONLY_LEARNER_1)
    model, last = learn.restored(None, active), START
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
    model, last = index.restored(None, build_index=build_usearch), START
    for batch in history(ports.log, ports.warehouse, ITEMS, 0, None):
        model.fold(batch)
        last = batch.messages[-1].position
    return _with_updates(model, ports, partitions), {f"{ITEMS}/0": last, f"{UPDATES}/0": START}


def _relearned_blend(ports: Ports, partitions: int, running: Artifact | None) -> tuple[Model, dict[str, str]]:
    sent = ports.log.extent(UPDATES, 0).last  # first: what is sent is folded
    return _with_updates(blend.restored(None), ports, partitions), {f"{UPDATES}/0": sent}


def _with_updates(model: Model, ports: Ports, partitions: int) -> Model:
    """Let a model learn every click in the order of time, as far as the state view has folded."""
    of_state = [target for target in targets(partitions) if target.view == STATE_VIEW]
    ends = [Update(target.partition, target.live(ports).seq, {}, []) for target in of_state]
    touches = heapq.merge(*(_touches(ports, target) for target in of_state), key=attrgetter("time"))
    anew = (Update(ANEW, number, {}, [touch]) for number, touch in enumerate(touches, start=1))
    for update in chain(anew, ends):
        model.fold(Batch(UPDATES, 0, [Message(START, encode_update(update))]))
    return model


def _touches(ports: Ports, target: Target) -> Iterator[SessionTouch]:
    """Yield what the state view of a partition told of sessions."""
    for folded in target.refold(ports, from_start=True).advance(ports.log, ports.warehouse, target.live(ports)):
        for topic, _, payload in folded.outbox:
            if topic == UPDATES:
                yield from decode_update(payload).touches


def _compared_blends(running: Artifact, files: Files) -> dict[str, Any]:
    """Compare what each source counts for by length of session; clicks of partitions are merged anew here as well."""
    live = SessionBlend.from_state(running.files[BLEND_FILE].read_bytes())
    anew = SessionBlend.from_state(files[BLEND_FILE])
    here, there = (one.weights[0] + one.weights[1:] for one in (live, anew))
    apart = float(np.linalg.norm(here - there) / np.linalg.norm(there))
    is_same = abs(anew.clicks - live.clicks) <= CLICKS_TOLERANCE * anew.clicks
    return {
        "equal": is_same and apart <= STRENGTH_TOLERANCE,
        "strengths_apart": round(apart, 4),
        "clicks": [live.clicks, anew.clicks],
    }


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
