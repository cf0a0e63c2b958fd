from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.artifact import ArtifactView, newest_sound
from flows.blend import blend_view, restored
from flows.index import vectors_view
from flows.learn import ranker_view
from flows.record import create_tables
from headrace.process import create_topics
from headrace.rebuild.model import relearn_models
from headrace.rebuild.target import Ports
from online.adapters.file_artifacts import FileArtifacts
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.adapters.usearch_index import build_usearch
from online.connect import open_warehouse
from online.core.catalogue import ITEMS
from online.core.example import EXAMPLES, Example, encode_example
from online.core.features import NAMES
from online.core.partition import EVENTS, partition_of
from online.core.rows import blocks
from online.core.update import UPDATES, SessionTouch, Update, encode_update
from online.ports import START, Batch, EventLog, Message, StateStore
from online.world import BLEND, RANKER, VECTORS
from replay.traffic import random_event
from schemas.event import encode_event
from schemas.item import ItemIn, accept_item, encode_item

PARTITIONS, NOW = 2, 1_767_225_600.0
EXAMPLES_SENT, EVENTS_SENT, ITEMS_SENT = 60, 600, 40

Models = dict[str, dict[str, Any]]


@pytest.fixture
def ports(warehouse_url: str, tmp_path: Path) -> Iterator[Ports]:
    server = open_warehouse(warehouse_url)
    server.execute("CREATE DATABASE IF NOT EXISTS test_models")
    warehouse = open_warehouse(f"{warehouse_url.rpartition('/')[0]}/test_models")
    create_tables(warehouse)
    yield Ports(MemoryLog(), MemoryState(), warehouse, FileArtifacts(tmp_path))
    warehouse.close()
    server.execute("DROP DATABASE test_models")
    server.close()


@pytest.fixture
def learned(ports: Ports, fold_all: Callable[[EventLog, StateStore, int], None]) -> Ports:
    """A system that has learned all models, whose log is archived and forgotten."""
    rng = random.Random(3)
    create_topics(ports.log, PARTITIONS)
    items = [accept_item(ItemIn(categories=[f"c{i % 4}"]), item_id=f"i{i}", now=NOW) for i in range(ITEMS_SENT)]
    ports.log.append(ITEMS, [(0, encode_item(item)) for item in items])
    events = [random_event(rng, NOW + i, users=30, items=ITEMS_SENT) for i in range(EVENTS_SENT)]
    ports.log.append(EVENTS, [(partition_of(e.user_key, PARTITIONS), encode_event(e)) for e in events])
    fold_all(ports.log, ports.state, PARTITIONS)
    ports.log.append(EXAMPLES, [(0, encode_example(example(number))) for number in range(EXAMPLES_SENT)])
    publish(ports, ranker_view(artifacts=ports.artifacts, clock=lambda: NOW))
    publish(ports, vectors_view(artifacts=ports.artifacts, build_index=build_usearch, clock=lambda: NOW))
    publish(ports, blend_view(artifacts=ports.artifacts, clock=lambda: NOW))
    for topic, partition in [(EVENTS, 0), (EVENTS, 1), (ITEMS, 0), (EXAMPLES, 0)]:
        for batch in ports.log.read({(topic, partition): START}, max_messages=10_000, wait_s=0.0):
            for block in blocks(batch):
                ports.warehouse.insert(block.table.name, block.table.columns, block.rows, token=block.token)
            ports.log.trim(topic, partition, batch.messages[-1].position)
    return ports


def example(number: int) -> Example:
    rng = np.random.default_rng(number)
    features, clicked = rng.random((3, len(NAMES)), np.float32), [bool(c) for c in rng.random(3) < 0.4]
    return Example(f"r{number}", 0, "home", NOW, "", list(NAMES), features.tobytes(), [1, 2, 3], clicked)


def publish(ports: Ports, view: ArtifactView) -> None:
    view.adopt(0)
    after = dict(view.positions())
    while batches := ports.log.read(after, max_messages=50, wait_s=0.0):
        for batch in batches:
            view.step(batch)
            after[batch.topic, batch.partition] = batch.messages[-1].position
    view.release(0)


def relearned(ports: Ports) -> Models:
    return relearn_models(ports, PARTITIONS, lambda line: None)


def test_models_learned_anew_from_the_archive_are_what_serves(learned: Ports) -> None:
    found = relearned(learned)

    assert found[RANKER] == {"equal": True, "largest_difference": 0.0, "published": None}
    assert found[VECTORS]["equal"] is True
    assert found[VECTORS]["neighbours_shared"] > 0.5
    assert found[VECTORS]["published"] is None
    assert found[BLEND]["equal"] is True
    assert found[BLEND]["strengths_apart"] < 0.5
    assert found[BLEND]["clicks"][0] > 100
    assert found[BLEND]["published"] is None


@pytest.mark.parametrize(
    ("name", "file"), [(RANKER, "candidates.json"), (VECTORS, "vectors.npy"), (BLEND, "blend.json")]
)
def test_a_damaged_model_is_published_anew_and_fences_its_owner(
    learned: Ports, tmp_path: Path, name: str, file: str
) -> None:
    (tmp_path / name / "1" / file).write_bytes(b"damaged")

    found = relearned(learned)

    assert (found[name]["equal"], found[name]["published"]) == (False, 2)
    assert relearned(learned)[name]["equal"] is True
    newest = newest_sound(learned.artifacts, name)
    assert newest is not None
    assert newest.version == 2


def test_a_blend_that_has_learned_something_else_is_published_anew(learned: Ports) -> None:
    model = restored(None)
    touches = [SessionTouch(n // 2, f"i{n % 2}", NOW + n) for n in range(400)]
    model.fold(Batch(UPDATES, 0, [Message("1", encode_update(Update(0, 1, {}, touches)))]))
    learned.artifacts.publish(BLEND, model.files(), {"positions": {f"{UPDATES}/0": START}})

    found = relearned(learned)

    assert (found[BLEND]["equal"], found[BLEND]["published"]) == (False, 3)
    assert relearned(learned)[BLEND]["strengths_apart"] == 0.0


def test_where_nothing_was_learned_nothing_is_published(ports: Ports) -> None:
    create_topics(ports.log, PARTITIONS)

    nothing = {"equal": True, "published": None}
    assert relearned(ports) == {RANKER: nothing, VECTORS: nothing, BLEND: nothing}
