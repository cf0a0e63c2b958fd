from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from online.adapters.exact_index import ExactIndex
from online.core.decay import Decay
from online.core.features import Retrieved
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.leaning import leaning
from online.core.policy_document import SOURCES
from online.core.profile import Profile
from online.core.record import UserRecord
from online.core.toplists import Toplists
from online.core.update import SessionTouch, Update
from online.models.session_candidates import FEATURES
from online.retrieval import PER_RETRIEVER, Query, retrieve
from online.vectors import Vectors
from online.world import World
from schemas.item import Item

KNN, VECTORS, AFFINITY = (SOURCES.index(name) for name in ("session_knn", "vectors", "affinity"))
T0 = Decay().landmark(1_700_000_000.0)


@pytest.fixture
def world() -> World:
    """Items a to f: a to c are shoes, d to f books; e and f of one brand; popular in that order but f, unavailable."""
    world = World(ItemTable(partitions=1))
    for number, name in enumerate("abcdef"):
        world.table.put(
            Item(
                item_id=name,
                updated_at=T0,
                created_at=T0 - number,
                categories=["shoes" if name in "abc" else "books"],
                brand="press" if name in "ef" else None,
                available=name != "f",
            )
        )
    stats = {name: ItemStats(T0, [9.0 - n] * 3, {}, T0, T0) for n, name in enumerate("abcdef")}
    touches = [SessionTouch(s, name, T0) for s, pair in enumerate(["ad", "ad", "be"]) for name in pair]
    world.apply(Update(0, 1, stats, touches))
    world.refresh(T0)
    return world


def found_by(world: World, *names: str, **asked: Any) -> dict[str, list[str]]:
    """Return what each source found."""
    found = ask(world, *names, **asked)
    ids = [world.table.ids.names[row] for row in found.rows]
    assert len(set(ids)) == len(ids)
    by_source = {
        name: [item for item, ranks in zip(ids, found.ranks.tolist(), strict=True) if ranks[i]]
        for i, name in enumerate(SOURCES)
    }
    return {name: items for name, items in by_source.items() if items}


def ask(
    world: World, *names: str, record: UserRecord | None = None, session: str = "", audiences: Sequence[str] = ()
) -> Retrieved:
    rows = np.array([world.table.ids.codes[name] for name in session], np.int32)
    profile = Profile.of(world.table, record or UserRecord(), T0)
    query = Query(profile, rows, leaning(world.table, profile, rows), audiences)
    assert world.tops is not None
    return retrieve(world, world.tops, query, names or SOURCES)


def in_order(vectors: dict[str, list[float]]) -> Vectors:
    matrix = np.array(list(vectors.values()), np.float32)
    return Vectors(
        1, list(vectors), matrix, {v: i for i, v in enumerate(vectors)}, ExactIndex(matrix, np.arange(len(matrix)))
    )


def test_session_knn_finds_the_items_of_sessions_like_this_one(world: World) -> None:
    found = ask(world, "session_knn", session="a")

    scores = dict(zip((world.table.ids.names[row] for row in found.rows), found.scores[:, KNN].tolist(), strict=True))
    assert "d" in scores
    assert "e" not in scores
    assert found_by(world, "session_knn") == {}


def test_vectors_find_what_is_near_the_session(world: World) -> None:
    world.vectors = in_order({"a": [1.0, 0.0], "b": [0.8, 0.6], "c": [0.0, 1.0]})

    found = ask(world, "vectors", session="a")

    assert found.rows.tolist() == [0, 1, 2]
    assert found.scores[:, VECTORS] == pytest.approx([1.0, 0.8, 0.0])
    assert found.ranks[:, KNN].tolist() == [0] * 3


def test_vectors_without_a_session_follow_the_users_affinities(world: World) -> None:
    world.vectors = in_order({"a": [1.0, 0.0], "c": [0.0, 1.0]})
    record = UserRecord()
    record.affinities[0] = {"c": [1.0] * 3}

    found = ask(world, "vectors", record=record)

    assert found.scores[:, VECTORS] == pytest.approx([0.0, 1.0])
    assert found_by(world, "vectors") == {}


def test_an_item_of_the_index_that_the_worker_has_not_read_of_is_left_out_and_stays_unknown(world: World) -> None:
    world.vectors = in_order({"a": [1.0, 0.0], "newer": [0.9, 0.1]})
    before = len(world.table)

    found = ask(world, "vectors", session="a")

    assert found.rows.tolist() == [0]
    assert len(world.table) == before


def test_affinity_finds_the_popular_items_of_liked_categories_and_brands(world: World) -> None:
    record = UserRecord(landmark=T0)
    record.affinities[1] = {"shoes": [2.0] * 3, "books": [-1.0] * 3, "not in the catalogue": [9.0] * 3}
    assert found_by(world, "affinity", record=record) == {"affinity": ["a", "b", "c"]}

    record.affinities[2] = {"press": [2.0] * 3}
    assert found_by(world, "affinity", record=record) == {"affinity": ["a", "b", "c", "e"]}
    assert found_by(world, "affinity") == {}


def test_a_guests_session_finds_what_is_popular_in_its_categories(world: World) -> None:
    assert found_by(world, "affinity", session="d") == {"affinity": ["d", "e"]}


@pytest.mark.parametrize("name", ["trending", "new"])
def test_rare_segments_come_up_for_those_who_lean_to_them(name: str) -> None:
    world = World(ItemTable(partitions=1))
    for n in range(300):
        age = float(n) if n < 290 else 1000.0 + n
        category = "crowd" if n < 290 else "rare"
        world.table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0 - age, categories=[category]))
    world.apply(Update(0, 1, {f"i{n}": ItemStats(T0, [300.0 - n] * 3, {}, T0, T0) for n in range(300)}, []))
    world.refresh(T0)
    fan = UserRecord(landmark=T0)
    fan.affinities[1] = {"rare": [2.0] * 3}

    def rare(record: UserRecord) -> int:
        return sum(int(item[1:]) >= 290 for item in found_by(world, name, record=record)[name])

    assert (rare(UserRecord()), rare(fan)) == (0, 10)


def test_those_who_share_a_label_or_a_context_find_what_they_like_more_than_others() -> None:
    world = World(ItemTable(partitions=1))
    names = [("label=vip",), ("country=de",), ()]
    touches = [SessionTouch(n, f"i{n % 3}", T0, 0, names[n % 3]) for n in range(150)]
    for n in range(3):
        world.table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0))
    world.apply(Update(0, 1, {}, touches))
    world.refresh(T0)

    assert found_by(world, "audience", audiences=["label=vip"]) == {"audience": ["i0"]}
    assert found_by(world, "audience", audiences=["label=vip", "country=de"]) == {"audience": ["i0", "i1"]}
    assert found_by(world, "audience", audiences=["country=fr"]) == {}


def test_lists_hold_what_may_be_shown(world: World) -> None:
    everything = ["a", "b", "c", "d", "e"]

    assert found_by(world, "popular") == {"popular": everything}
    assert found_by(world, "trending") == {"trending": everything}
    assert found_by(world, "new") == {"new": everything}


def test_an_item_found_by_several_names_them_all(world: World) -> None:
    found = ask(world, "popular", "session_knn", session="a")

    at = found.rows.tolist().index(world.table.row("d"))
    assert {name for i, name in enumerate(SOURCES) if found.ranks[at, i]} == {"popular", "session_knn"}
    assert found.rows.tolist() == sorted(found.rows.tolist())
    assert found.scores[at, KNN] > 0


def test_shapes_and_types_are_those_the_kernels_take(world: World) -> None:
    world.vectors = in_order({"a": [1.0, 0.0], "c": [0.0, 1.0]})
    for session in ("", "a", "abc"):
        found = ask(world, session=session)
        kinds: list[tuple[Any, Any]] = [
            (found.rows, np.int32), (found.scores, np.float64), (found.ranks, np.int32),
        ]  # fmt: skip
        for array, kind in kinds:
            assert array.dtype == kind
            assert len(array) == len(found.rows)
        assert found.scores.shape == found.ranks.shape == (len(found.rows), len(SOURCES))


def test_an_empty_world_has_nothing_to_find() -> None:
    world = World(ItemTable(partitions=1))
    world.refresh(T0)

    assert ask(world).rows.shape == (0,)


def test_each_retriever_names_a_bounded_number() -> None:
    world = World(ItemTable(partitions=1))
    for number in range(600):
        world.table.put(Item(item_id=str(number), updated_at=T0, created_at=T0, categories=["one"]))
    stats = {str(n): ItemStats(T0, [1.0 + n] * 3, {}, T0, T0) for n in range(600)}
    world.apply(
        Update(0, 1, stats, [SessionTouch(1, str(n), T0, 0, ("label=a",) if n < 200 else ()) for n in range(600)])
    )
    world.refresh(T0)
    world.tops = Toplists(world.table, T0, limit=500)
    world.vectors = in_order({str(n): [1.0, n / 600] for n in range(600)})
    record = UserRecord(landmark=T0)
    record.affinities[1] = {"one": [1.0] * 3}
    row = np.array([599], np.int32)

    profile = Profile.of(world.table, record, T0)
    query = Query(profile, row, leaning(world.table, profile, row), ["label=a"])

    for name in SOURCES:
        found = retrieve(world, world.tops, query, [name])
        assert 0 < len(found.rows) <= PER_RETRIEVER, name


def test_ranks_follow_each_retrievers_own_order_and_a_row_named_twice_keeps_the_better_one(world: World) -> None:
    world.vectors = in_order({"c": [1.0, 0.0], "a": [0.8, 0.6], "b": [0.0, 1.0]})
    record = UserRecord(landmark=T0)
    record.affinities[1], record.affinities[2] = {"books": [2.0] * 3}, {"press": [2.0] * 3}

    found = ask(world, record=record, session="c")

    ranks = {world.table.ids.names[row]: found.ranks[i] for i, row in enumerate(found.rows)}
    assert [ranks[name][VECTORS] for name in "cab"] == [1, 2, 3]
    assert [ranks[name][AFFINITY] for name in "de"] == [1, 2]  # e comes again, with its brand


def test_source_sets_of_more_than_eight_sources_take_another_byte() -> None:
    found = Retrieved(np.arange(2, dtype=np.int32), np.zeros((2, 9)), np.zeros((2, 9), np.int32), np.zeros(2))
    found.ranks[0, 1] = found.ranks[1, 8] = 3

    assert found.source_bits().tolist() == [[2, 0], [0, 1]]


def test_the_session_tells_how_likely_a_candidate_is_whoever_found_it(world: World) -> None:
    found = ask(world, "session_blend", "popular", session="a")

    odds = dict(zip((world.table.ids.names[row] for row in found.rows), found.odds.tolist(), strict=True))
    assert odds["d"] == 0.0 > max(odds[name] for name in "bce")  # what came with a
    assert np.isneginf(odds["a"])
    assert np.isfinite([odds[name] for name in "bce"]).all()
    world.blend.weights[0, FEATURES.index("sessions")] = 1.0
    odds = dict(zip("abcde", ask(world, "session_blend", "popular", session="a").odds.tolist(), strict=True))
    assert odds["b"] > odds["c"]  # that no session has had
    for others in (ask(world, "session_blend", "popular", session=""), ask(world, "popular", session="a")):
        assert np.isneginf(others.odds).all()


def test_vectors_tell_how_near_a_candidate_is_whoever_found_it(world: World) -> None:
    world.vectors = in_order({"a": [1.0, 0.0], "b": [0.6, 0.8]})
    found = ask(world, "vectors", "popular", session="a")

    near = dict(zip(found.rows.tolist(), found.scores[:, SOURCES.index("vectors")].tolist(), strict=True))
    assert near == pytest.approx({0: 1.0, 1: 0.6, 2: 0.0, 3: 0.0, 4: 0.0})
    only_popular = ask(world, "popular", session="a")
    assert not only_popular.scores[:, SOURCES.index("vectors")].any()
