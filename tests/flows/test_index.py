from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flows.artifact import ArtifactView
from flows.index import PUBLISH_S, vectors_view
from flows.log_source import TICK
from flows.view import build, run
from online.adapters.exact_index import ExactIndex
from online.adapters.file_artifacts import FileArtifacts
from online.core.catalogue import ITEMS
from online.core.record import UserRecord
from online.core.update import UPDATES, SessionTouch, Update, encode_update
from online.models.item_factors import ItemFactorsConfig
from online.models.item_vectors import IDS_FILE, INDEX_FILE, MATRIX_FILE, STATE_FILE
from online.ports import START, Batch, UnsoundIndex
from online.vectors import Vectors, read_vectors
from online.world import VECTORS
from schemas.item import Item, encode_item

CONFIG = ItemFactorsConfig(dim=8, seed=3)
T0 = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def build_exact(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    return buffer.getvalue()


def view_exact(path: Path) -> ExactIndex:
    matrix = np.load(path, allow_pickle=False)
    return ExactIndex(matrix, np.arange(len(matrix), dtype=np.int64))


def open_view(artifacts: FileArtifacts, clock: Clock) -> ArtifactView:
    view = vectors_view(artifacts=artifacts, build_index=build_exact, clock=clock, config=CONFIG)
    view.adopt(0)
    return view


def read_all(view: ArtifactView, log: Any) -> None:
    after = dict(view.positions())
    while batches := log.port.read(after, max_messages=50, wait_s=0.0):
        for batch in batches:
            view.step(batch)()
            after[batch.topic, batch.partition] = batch.messages[-1].position


def publish(view: ArtifactView, clock: Clock) -> None:
    clock.now += PUBLISH_S
    view.step(Batch(TICK, 0, []))()


def served(artifacts: FileArtifacts) -> Vectors:
    artifact = artifacts.open(VECTORS)
    assert artifact is not None
    return read_vectors(artifact, view_exact)


def put(log: Any, *item_ids: str, **fields: Any) -> None:
    documents = [encode_item(Item(item_id=i, updated_at=T0, created_at=T0, **fields)) for i in item_ids]
    log.port.append(ITEMS, [(0, document) for document in documents])


def visit(log: Any, sessions: range, groups: dict[str, list[str]], seq: int) -> None:
    """Append one update in which each session walks through the items of one group."""
    names = sorted(groups)
    touches = []
    for session in sessions:
        rng = np.random.default_rng(session)
        group = groups[names[session % len(names)]]
        touches += [SessionTouch(session, item, T0) for item in rng.permutation(group).tolist()]
    log.port.append(UPDATES, [(0, encode_update(Update(0, seq, {}, touches)))])


GROUPS = {"shoes": [f"s{n}" for n in range(6)], "books": [f"b{n}" for n in range(6)]}


@pytest.fixture
def artifacts(tmp_path: Path) -> FileArtifacts:
    return FileArtifacts(tmp_path)


def test_items_seen_in_the_same_sessions_get_near_vectors(switched_log: Any, artifacts: FileArtifacts) -> None:
    put(switched_log, *GROUPS["shoes"], *GROUPS["books"])
    for seq in range(1, 11):
        visit(switched_log, range(seq * 100, seq * 100 + 60), GROUPS, seq)
    clock = Clock()
    view = open_view(artifacts, clock)

    read_all(view, switched_log)
    publish(view, clock)

    vectors = served(artifacts)
    direction = vectors.query(UserRecord(), ["s0"])
    assert direction is not None
    nearest = [vectors.ids[label] for label in vectors.nearest.search(direction, 6)[0].tolist()]
    assert set(nearest) == set(GROUPS["shoes"])
    assert np.linalg.norm(vectors.matrix, axis=1) == pytest.approx(np.ones(12), abs=1e-5)


def test_new_items_of_one_category_are_near_before_any_click(switched_log: Any, artifacts: FileArtifacts) -> None:
    put(switched_log, *GROUPS["shoes"], categories=["shoes"])
    put(switched_log, *GROUPS["books"], categories=["books"])
    clock = Clock()
    view = open_view(artifacts, clock)

    read_all(view, switched_log)
    publish(view, clock)

    vectors = served(artifacts)
    shoes, books = (vectors.matrix[[vectors.labels[i] for i in GROUPS[name]]] for name in ("shoes", "books"))
    assert float((shoes @ shoes.T).mean()) > float((shoes @ books.T).mean()) + 0.2


def test_a_published_version_names_what_it_has_read(switched_log: Any, artifacts: FileArtifacts) -> None:
    put(switched_log, "a", "b")
    visit(switched_log, range(3), {"one": ["a", "b"]}, 1)
    clock = Clock()
    view = open_view(artifacts, clock)
    read_all(view, switched_log)
    publish(view, clock)

    artifact = artifacts.open(VECTORS)

    assert artifact is not None
    assert artifact.lineage["positions"] == {
        "items/0": switched_log.port.extent(ITEMS, 0).last,
        "updates/0": switched_log.port.extent(UPDATES, 0).last,
    }
    assert (artifact.lineage["items"], artifact.lineage["dim"]) == (2, 8)
    assert set(artifact.files) >= {INDEX_FILE, MATRIX_FILE, IDS_FILE, STATE_FILE}


def test_with_fewer_than_two_items_there_is_nothing_to_publish(switched_log: Any, artifacts: FileArtifacts) -> None:
    put(switched_log, "a")
    clock = Clock()
    view = open_view(artifacts, clock)

    read_all(view, switched_log)
    publish(view, clock)
    assert artifacts.latest(VECTORS) is None
    put(switched_log, "b")
    read_all(view, switched_log)
    publish(view, clock)

    assert served(artifacts).ids == ["a", "b"]


def test_a_deleted_item_leaves_the_index_and_stays_out_after_a_restart(
    switched_log: Any, artifacts: FileArtifacts
) -> None:
    clock = Clock()
    view = open_view(artifacts, clock)
    put(switched_log, "a", "b", "c")
    put(switched_log, "b", deleted=True)
    read_all(view, switched_log)
    publish(view, clock)
    assert served(artifacts).ids == ["a", "c"]

    reopened = open_view(artifacts, clock)
    put(switched_log, "d")
    read_all(reopened, switched_log)
    publish(reopened, clock)
    assert served(artifacts).ids == ["a", "c", "d"]
    put(switched_log, "b")
    read_all(reopened, switched_log)
    publish(reopened, clock)

    assert served(artifacts).ids == ["a", "b", "c", "d"]


def test_a_restart_goes_on_from_what_was_published(switched_log: Any, artifacts: FileArtifacts) -> None:
    clock = Clock()
    view = open_view(artifacts, clock)
    put(switched_log, *GROUPS["shoes"], *GROUPS["books"])
    visit(switched_log, range(100), GROUPS, 1)
    read_all(view, switched_log)
    publish(view, clock)
    before = served(artifacts)

    reopened = open_view(artifacts, clock)
    assert reopened.positions() == view.positions()
    visit(switched_log, range(100), GROUPS, 1)  # sent again by the state flow
    put(switched_log, "new")
    read_all(reopened, switched_log)
    publish(reopened, clock)

    after = served(artifacts)
    assert after.version > before.version
    assert after.ids == [*before.ids, "new"]
    np.testing.assert_allclose(after.matrix[:12], before.matrix, atol=1e-6)


def test_a_damaged_newest_version_is_passed_over(switched_log: Any, artifacts: FileArtifacts) -> None:
    clock = Clock()
    view = open_view(artifacts, clock)
    put(switched_log, "a", "b")
    read_all(view, switched_log)
    publish(view, clock)
    first = artifacts.latest(VECTORS)
    put(switched_log, "c")
    read_all(view, switched_log)
    publish(view, clock)
    newest = artifacts.open(VECTORS)
    assert newest is not None
    newest.files[STATE_FILE].write_bytes(b"?")

    reopened = open_view(artifacts, clock)
    assert reopened.positions()[ITEMS, 0] < switched_log.port.extent(ITEMS, 0).last
    read_all(reopened, switched_log)
    publish(reopened, clock)

    assert first is not None
    assert served(artifacts).version > newest.version
    assert served(artifacts).ids == ["a", "b", "c"]


def test_a_graph_that_fails_its_check_is_not_published_and_the_next_one_is(
    switched_log: Any, artifacts: FileArtifacts, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([None, UnsoundIndex("self-recall 0.5"), None])

    def build_checked(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> bytes:
        failure = next(answers)
        if failure is not None:
            raise failure
        return build_exact(vectors, labels)

    clock = Clock()
    view = vectors_view(artifacts=artifacts, build_index=build_checked, clock=clock, config=CONFIG)
    view.adopt(0)
    published = []
    for names in (["a", "b"], ["c"], ["d"]):
        put(switched_log, *names)
        read_all(view, switched_log)
        publish(view, clock)
        published.append(list(served(artifacts).ids))

    assert published == [["a", "b"], ["a", "b"], ["a", "b", "c", "d"]]
    assert "keeping vectors 1: self-recall 0.5" in caplog.text


def test_the_dataflow_publishes(switched_log: Any, artifacts: FileArtifacts) -> None:
    put(switched_log, "a", "b")
    switched_log.port.append(ITEMS, [(0, b"?")])
    switched_log.port.append(UPDATES, [(0, b"?")])
    view = open_view(artifacts, Clock())
    assert view.positions() == {(ITEMS, 0): START, (UPDATES, 0): START}

    run(build("index", [view], lambda: switched_log, stop_at_head=True))

    assert served(artifacts).ids == ["a", "b"]
