from __future__ import annotations

import numpy as np

from online.adapters.exact_index import ExactIndex
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy_document import Policy
from online.core.ranker import Ranker
from online.core.update import SessionTouch, Update
from online.vectors import Vectors
from online.world import World
from schemas.control import ControlChange
from schemas.item import Item

T0 = 1_700_000_000.0


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
    assert early.popular.everybody.tolist() == []
    assert world.tops is not None
    assert world.tops.popular.everybody.tolist() == [0]


def test_a_frozen_world_keeps_toplists_vectors_and_ranker_and_shares_the_arrays() -> None:
    world = World(ItemTable(partitions=1))
    world.refresh(T0)
    frozen = world.frozen()
    tops, ranker = world.tops, world.ranker

    world.refresh(T0 + 1)
    matrix = np.array([[1.0, 0.0]], np.float32)
    world.vectors = Vectors(1, ["a"], matrix, {"a": 0}, ExactIndex(matrix, np.arange(1)))
    world.ranker = Ranker("9", ranker.weights, 0.0)

    assert (frozen.tops, frozen.vectors, frozen.ranker) == (tops, None, ranker)
    assert frozen.table is world.table
    assert frozen.sessions is world.sessions


def test_a_policy_is_ranked_by_the_model_it_names_else_by_the_active_one_else_by_the_default() -> None:
    world = World(ItemTable(partitions=1))
    assert world.model == "prior"
    weights = world.ranker.weights
    world.rankers = {name: Ranker(name, weights, 0.0) for name in ("pointwise-1", "newton-1")}

    def version(ranker: str) -> str:
        return world.ranker_of(Policy("p", ranker=ranker)).version

    assert [version(name) for name in ("learned", "newton-1", "listwise-1", "popularity")] == [
        "prior", "newton-1", "prior", "prior",
    ]  # fmt: skip
    active = ControlChange(kind="model", id="ranker", revision=1, document={"candidate": "newton-1"})
    world.control = world.control.applied(active, "1")
    assert version("learned") == world.model == "newton-1"
