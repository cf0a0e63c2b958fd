from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from online.adapters.exact_index import ExactIndex
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.ranker import Ranker
from online.core.update import SessionTouch, Update
from online.models.item_vectors import IDS_FILE, INDEX_FILE, MATRIX_FILE
from online.ports import Artifact
from online.world import Vectors, World, read_vectors
from schemas.item import Item

T0 = 1_700_000_000.0


def vectors(*rows: list[float]) -> Vectors:
    matrix = np.array(rows, np.float32)
    ids = [chr(ord("a") + i) for i in range(len(matrix))]
    labels = {item: i for i, item in enumerate(ids)}
    return Vectors(1, ids, matrix, labels, ExactIndex(matrix, np.arange(len(matrix))))


def test_the_query_of_one_item_is_its_vector() -> None:
    direction = vectors([1.0, 0.0], [0.0, 1.0]).query(["b"])

    assert direction is not None
    assert direction.tolist() == [0.0, 1.0]


def test_later_items_weigh_more_and_the_direction_has_length_1() -> None:
    direction = vectors([1.0, 0.0], [0.0, 1.0]).query(["a", "unknown", "b"])

    assert direction is not None
    assert direction[1] / direction[0] == pytest.approx(2**0.5)
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    assert direction.dtype == np.float32


def test_unknown_items_and_opposite_ones_have_no_direction() -> None:
    opposite = vectors([1.0, 0.0], [-(2.0**-0.5), 0.0])

    assert opposite.query(["x"]) is None
    assert opposite.query([]) is None
    assert opposite.query(["a", "b"]) is None


def artifact(directory: Path, matrix: NDArray[np.float32], ids: bytes, index: NDArray[np.float32]) -> Artifact:
    files = {}
    for name, content in ((INDEX_FILE, npy(index)), (MATRIX_FILE, npy(matrix)), (IDS_FILE, ids)):
        files[name] = directory / name
        files[name].write_bytes(content)
    return Artifact("vectors", 7, files, {})


def npy(matrix: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    return buffer.getvalue()


def view(path: Path) -> ExactIndex:
    matrix = np.load(path, allow_pickle=False)
    return ExactIndex(matrix, np.arange(len(matrix), dtype=np.int64))


def test_vectors_are_read_from_an_artifact(tmp_path: Path) -> None:
    matrix = np.eye(3, dtype=np.float32)

    read = read_vectors(artifact(tmp_path, matrix, b'["x","y","z"]', matrix), view)

    assert (read.version, list(read.ids), read.labels["z"]) == (7, ["x", "y", "z"], 2)
    labels, cosines = read.nearest.search(np.array([0.0, 1.0, 0.0], np.float32), 1)
    assert (labels.tolist(), cosines.tolist()) == ([1], [1.0])


@pytest.mark.parametrize(("ids", "rows", "indexed"), [(b'["x"]', 2, 2), (b'["x","y"]', 3, 2), (b'["x","y"]', 2, 1)])
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, ids: bytes, rows: int, indexed: int) -> None:
    given = artifact(tmp_path, np.eye(rows, 3, dtype=np.float32), ids, np.eye(indexed, 3, dtype=np.float32))

    with pytest.raises(ValueError, match="do not belong together"):
        read_vectors(given, view)


def update(seq: int, *touched: str, partition: int = 0) -> Update:
    stats = {item: ItemStats(0.0, [2.0] * 3, {}, T0, T0) for item in touched}
    touches = [SessionTouch(5, item, T0 + i) for i, item in enumerate(touched)]
    return Update(partition, seq, stats, touches)


def test_an_update_reaches_item_arrays_and_session_index_once() -> None:
    world = World(ItemTable(partitions=2))

    for given in (update(1, "a", "b"), update(1, "a", "b"), update(1, "c", partition=1), update(2, "a")):
        world.apply(given)

    assert world.table.applied == {0: 2, 1: 1}
    assert world.table.totals[:3, 0].tolist() == [2.0, 2.0, 2.0]
    rows, _ = world.sessions.query(np.array([world.table.row("c")], np.int32), now=T0 + 9, limit=9)
    assert set(rows.tolist()) == {world.table.row(item) for item in "abc"}  # one session in both partitions


def test_toplists_are_of_the_moment_they_were_refreshed() -> None:
    world = World(ItemTable(partitions=1))
    world.table.put(Item(item_id="a", updated_at=T0, created_at=T0, available_from=T0 + 10))
    world.apply(update(1, "a"))

    world.refresh(T0)
    early = world.tops
    world.refresh(T0 + 10)

    assert early is not None
    assert early.popular.tolist() == []
    assert world.tops is not None
    assert world.tops.popular.tolist() == [0]


def test_a_frozen_world_keeps_toplists_vectors_and_ranker_and_shares_the_arrays() -> None:
    world = World(ItemTable(partitions=1))
    world.refresh(T0)
    frozen = world.frozen()
    tops, ranker = world.tops, world.ranker

    world.refresh(T0 + 1)
    world.vectors = vectors([1.0, 0.0])
    world.ranker = Ranker("9", ranker.weights, 0.0)

    assert (frozen.tops, frozen.vectors, frozen.ranker) == (tops, None, ranker)
    assert frozen.table is world.table
    assert frozen.sessions is world.sessions
