from __future__ import annotations

import importlib.util
import os
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.models import session_index_kernel, session_knn_kernel
from online.models.session_index_kernel import arena_room
from online.models.session_knn import SessionKnn, SessionKnnConfig


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


ReferenceSessionKnn = _sibling("session_knn_reference").ReferenceSessionKnn

Click = tuple[int, int, float]
SMALL = {"sessions": 6, "postings": 5, "session_length": 3, "neighbours": 4}  # every bound is hit soon

clicks = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 11), st.floats(0, 1000, allow_nan=False)), max_size=150)
sessions = st.lists(st.sampled_from([-1, 13, 80, *range(12)]), max_size=14)  # rows never learned among them


def learned(config: SessionKnnConfig, stream: list[Click]) -> SessionKnn:
    knn = SessionKnn(config)
    keys, items, times = zip(*stream, strict=True) if stream else ((), (), ())
    knn.learn_many(np.array(keys, np.uint64), np.array(items, np.int32), np.array(times, np.float64))
    return knn


def same(knn: SessionKnn, reference: ReferenceSessionKnn, session: list[int], limit: int) -> None:
    rows, scores = knn.query(np.array(session, np.int32), now=1000.0, limit=limit)
    expected = reference.query(session, 1000.0, limit)
    np.testing.assert_allclose(scores, [score for _, score in expected], rtol=1e-5)
    everything = dict(reference.query(session, 1000.0, 1000))
    np.testing.assert_allclose(scores, [everything[row] for row in rows.tolist()], rtol=1e-5)
    assert len(set(rows.tolist())) == len(expected)


@settings(max_examples=150, deadline=None)
@given(clicks, sessions, st.sampled_from([None, 100.0]), st.integers(1, 15))
def test_any_stream_gives_what_the_reference_gives(
    stream: list[Click], session: list[int], half_life_s: float | None, limit: int
) -> None:
    knn = learned(SessionKnnConfig(**SMALL, half_life_s=half_life_s), stream)
    reference = ReferenceSessionKnn(**SMALL, half_life_s=half_life_s)
    for click in stream:
        reference.learn(*click)
    same(knn, reference, session, limit)


Move = tuple[int, int]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 11), st.floats(0, 1000))
        | st.tuples(st.integers(0, 9), st.integers(0, 9)),
        max_size=150,
    ),
    sessions,
)
def test_sessions_that_turn_out_to_be_one_are_one(stream: list[Click | Move], session: list[int]) -> None:
    knn, reference = SessionKnn(SessionKnnConfig(**SMALL)), ReferenceSessionKnn(**SMALL)
    for step in stream:
        if len(step) == 3:
            knn.learn_one(*step)
            reference.learn(*step)
        elif step[0] != step[1]:
            knn.move(*step)
            reference.move(*step)
    same(knn, reference, session, 12)
    same(SessionKnn.from_state(knn.config, knn.state()), reference, session, 12)


def test_the_query_is_compiled_for_the_layout_that_the_index_has() -> None:
    layout = session_knn_kernel.LAYOUT
    assert layout["sessions"] == session_index_kernel.Sessions._fields
    assert layout["postings"] == session_index_kernel.Postings._fields
    for array in ("rings", "counters", "room"):
        assert [getattr(session_index_kernel, name) for name in layout[array]] == list(range(len(layout[array])))
    assert session_index_kernel.NUMBER == 2**32 - 1


def test_what_a_session_has_dropped_is_no_part_of_it_nor_of_what_it_becomes() -> None:
    knn, reference = SessionKnn(SessionKnnConfig(**SMALL)), ReferenceSessionKnn(**SMALL)
    for click in [(1, item, float(item)) for item in range(5)] + [(2, 4, 9.0), (3, 4, 9.5), (3, 0, 9.6)]:
        knn.learn_one(*click)
        reference.learn(*click)
    same(knn, reference, [0], 12)
    knn.move(1, 2)
    reference.move(1, 2)
    for session in ([0], [1], [4], [0, 4]):
        same(knn, reference, session, 12)
    assert knn.session_counts[:5].tolist() == [1, 0, 1, 1, 2]


def test_a_session_knows_how_often_it_clicked_also_after_it_became_another() -> None:
    knn = learned(SessionKnnConfig(sessions=9), [(1, 0, 0.0), (1, 0, 1.0), (1, 3, 2.0), (2, 0, 5.0)])
    assert [knn.clicks(key) for key in (1, 2, 3)] == [3, 1, 0]
    knn.move(1, 2)
    assert [knn.clicks(key) for key in (1, 2)] == [0, 4]


def test_successors_of_the_last_two_items_are_told_from_those_of_the_last() -> None:
    stream = [(key, item, float(n)) for key, items in [(1, [5, 0, 8]), (2, [6, 0, 9])] for n, item in enumerate(items)]
    rows, _, nexts = learned(SessionKnnConfig(sessions=9), stream).votes(np.array([6, 0], np.int32), now=9.0, limit=9)
    of = dict(zip(rows.tolist(), (nexts > 0.0).tolist(), strict=True))
    assert (of[8], of[9], of[5]) == ([True, False], [True, True], [False, False])


@settings(max_examples=150, deadline=None)
@given(clicks, sessions, st.data())
def test_the_order_of_arrival_changes_no_answer(stream: list[Click], session: list[int], data: st.DataObject) -> None:
    config = SessionKnnConfig(sessions=10, postings=4, session_length=12, neighbours=3, half_life_s=100.0)
    knn, shuffled = learned(config, stream), learned(config, data.draw(st.permutations(stream)))
    asked = np.array(session, np.int32)
    for mine, theirs in zip(
        knn.query(asked, now=1000.0, limit=9), shuffled.query(asked, now=1000.0, limit=9), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def shop(n: int, seed: int) -> list[Click]:
    """Interleaved sessions over 300 items of skewed popularity, with repeats and returning sessions."""
    random = np.random.default_rng(seed)
    keys = (random.integers(0, 40, n) + np.arange(n) // 6).astype(np.uint64)
    if seed % 2:
        keys += np.uint64(2**64 - 5000)  # keys use all 64 bits
    items = (random.zipf(1.3, n) % 300).astype(int)
    return list(zip(keys.tolist(), items.tolist(), np.arange(n, dtype=float).tolist(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_a_long_stream_gives_what_the_reference_gives(seed: int) -> None:
    bounds = {"sessions": 250, "postings": 40, "session_length": 8, "neighbours": 20}
    stream = shop(6000, seed)
    knn, reference = SessionKnn(SessionKnnConfig(**bounds)), ReferenceSessionKnn(**bounds)
    for n, (key, item, time) in enumerate(stream):
        knn.learn_one(key, item, time)
        reference.learn(key, item, time)
        if n % 50 == 0:
            same(knn, reference, [item for _, item, _ in stream[max(0, n - 7) : n + 1]], 20)
    assert knn.n_sessions == 250


def test_the_order_is_exactly_the_references_when_sums_are_exact() -> None:
    stream = [(key, item, 0.0) for key, item in [(1, 0), (1, 5), (2, 0), (2, 3), (3, 0), (3, 4), (3, 9)]]
    knn = learned(SessionKnnConfig(sessions=10), stream)
    reference = ReferenceSessionKnn(10, 500, 32, 100)
    for click in stream:
        reference.learn(*click)
    rows, _ = knn.query(np.array([0], np.int32), now=0.0, limit=10)
    assert rows.tolist() == [row for row, _ in reference.query([0], 0.0, 10)] == [0, 3, 4, 5, 9]


def test_one_by_one_equals_a_batch_that_grows_every_array() -> None:
    stream = [(n % 500, (n * 7919) % 5000, float(n)) for n in range(20_000)]
    config = SessionKnnConfig(sessions=100, postings=16)
    one_by_one = SessionKnn(config)
    for key, item, time in stream:
        one_by_one.learn_one(key, item, time)
    batch = learned(config, stream).state()
    for name, array in one_by_one.state().items():
        np.testing.assert_array_equal(array, batch[name], err_msg=name)


def test_blocks_of_the_arena_are_used_again() -> None:
    knn = SessionKnn(SessionKnnConfig(sessions=100, postings=64))
    for n in range(64 * 50):
        knn.learn_one(n, n % 50, 0.0)  # 50 items grow together through 8, 16, 32 and 64 postings
    for n in range(64 * 50, 64 * 50 + 8 * 50):
        knn.learn_one(n, 50 + n % 50, 0.0)  # 50 new items of 8 postings fit into blocks let go
    assert len(knn.state()["arena"]) <= 50 * (8 + 16 + 32 + 64)


def test_blocks_of_sessions_are_used_again() -> None:
    rng = np.random.default_rng(5)
    knn = SessionKnn(SessionKnnConfig(sessions=40, session_length=20))
    for session in range(2000):
        for item in rng.permutation(60)[: rng.integers(1, 30)].tolist():
            knn.learn_one(session, item, float(session))

    state = knn.state()
    sizes = np.array([0, 4, 8, 16, 20])[state["levels"].astype(np.int64)]
    taken = sorted(zip(state["offsets"].tolist(), (state["offsets"] + sizes).tolist(), strict=True))
    assert all(end <= begin for (_, end), (begin, _) in pairwise(taken))
    assert len(state["items"]) < 1.5 * 40 * 20 < arena_room(40, 20)


def test_sessions_that_outgrow_their_blocks_are_as_the_reference_has_them() -> None:
    rng = np.random.default_rng(6)
    bounds = {"sessions": 12, "postings": 50, "session_length": 20, "neighbours": 8}
    knn, reference = SessionKnn(SessionKnnConfig(**bounds)), ReferenceSessionKnn(**bounds)
    for n in range(1500):
        click = (n // 40 + int(rng.integers(5)), int(rng.integers(60)), float(n + rng.integers(30)))
        knn.learn_one(*click)
        reference.learn(*click)
        if n % 25 == 0:
            same(knn, reference, rng.integers(60, size=5).tolist(), 12)


def test_numbers_of_sessions_may_pass_32_bits() -> None:
    stream = shop(3000, seed=1)
    config = SessionKnnConfig(sessions=64, postings=20)
    knn = learned(config, stream[:1500])
    state = knn.state()
    shift = (2**32 - 64 - int(state["counters"][0])) // 64 * 64  # a multiple of the slots: numbers keep theirs
    state["counters"][0] += shift
    for offset, _, _, _, held in state["rings"].tolist():
        posted = state["arena"][offset : offset + held]
        posted += np.uint32(shift)
    shifted = SessionKnn.from_state(config, state)
    for learner in (knn, shifted):
        for click in stream[1500:]:
            learner.learn_one(*click)
    assert shifted.state()["counters"][0] > 2**32
    for item in range(20):
        near, _ = knn.query(np.array([item], np.int32), now=0.0, limit=500)
        far, _ = shifted.query(np.array([item], np.int32), now=0.0, limit=500)
        assert set(near.tolist()) == set(far.tolist())


def test_an_old_session_makes_room_for_a_new_one() -> None:
    knn = learned(SessionKnnConfig(sessions=2), [(1, 0, 0.0), (1, 1, 0.0), (2, 0, 0.0), (2, 2, 0.0)])
    knn.learn_one(3, 5, 0.0)
    rows, _ = knn.query(np.array([0], np.int32), now=0.0, limit=10)
    assert sorted(rows.tolist()) == [0, 2]


def test_a_recent_session_counts_more_under_decay() -> None:
    knn = learned(
        SessionKnnConfig(sessions=9, half_life_s=60.0),
        [(1, 0, 0.0), (1, 1, 0.0), (2, 0, 600.0), (2, 2, 600.0)],
    )
    rows, scores = knn.query(np.array([0], np.int32), now=600.0, limit=3)
    score = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    assert score[1] == pytest.approx(score[2] / 2**10, rel=1e-5)


def test_a_late_click_does_not_make_a_session_older() -> None:
    config = SessionKnnConfig(sessions=9, half_life_s=60.0)
    late = learned(config, [(1, 0, 600.0), (1, 1, 0.0)])
    in_time = learned(config, [(1, 1, 0.0), (1, 0, 600.0)])
    for item in (0, 1):
        asked = [knn.query(np.array([item], np.int32), now=600.0, limit=3)[1] for knn in (late, in_time)]
        np.testing.assert_array_equal(*asked)


def test_a_session_of_unknown_items_finds_nothing() -> None:
    rows, scores = learned(SessionKnnConfig(sessions=9), [(1, 0, 0.0)]).query(
        np.array([40, -1], np.int32), now=0.0, limit=5
    )
    assert (rows.dtype, scores.dtype, len(rows), len(scores)) == (np.int32, np.float32, 0, 0)


def test_wrong_arguments_are_refused_and_nothing_is_learned() -> None:
    knn = SessionKnn(SessionKnnConfig(sessions=9))
    with pytest.raises(ValueError, match="negative: -1"):
        knn.learn_one(1, -1, 0.0)
    with pytest.raises(ValueError, match="negative: -2"):
        knn.learn_many(np.array([1, 2], np.uint64), np.array([3, -2], np.int32), np.zeros(2))
    with pytest.raises(ValueError, match="lengths differ"):
        knn.learn_many(np.array([1, 2], np.uint64), np.array([3], np.int32), np.zeros(1))
    with pytest.raises(ValueError, match="limit"):
        knn.query(np.array([1], np.int32), now=0.0, limit=0)
    with pytest.raises(ValueError, match="positive"):
        SessionKnnConfig(sessions=0)
    assert (knn.n_items, knn.n_sessions) == (0, 0)


def test_a_state_of_other_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="other bounds"):
        SessionKnn.from_state(SessionKnnConfig(sessions=8), SessionKnn(SessionKnnConfig(sessions=9)).state())


DATA = os.environ.get("HEADRACE_TEST_DATA")


@pytest.mark.skipif(DATA is None, reason="HEADRACE_TEST_DATA names no folder of data sets")
def test_mrr_on_the_serenade_example_is_that_of_vmis_knn() -> None:
    """Static, current item excluded: learn from train, rank for every prefix of every test session."""
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = Path(str(DATA)) / "serenade-example"

    def columns(part: str, order: list[str]) -> list[np.ndarray]:
        table = parquet.read_table(folder / f"{part}.parquet")
        by = np.lexsort([table[name].to_numpy() for name in reversed(order)])
        return [table[name].to_numpy()[by] for name in ("SessionId", "ItemId", "Time")]

    sessions, items, times = columns("train", ["Time"])
    catalogue, rows = np.unique(items, return_inverse=True)
    row_of = {item: row for row, item in enumerate(catalogue.tolist())}
    knn = SessionKnn(SessionKnnConfig(sessions=100_000))
    knn.learn_many(sessions.astype(np.uint64), rows.astype(np.int32), times.astype(np.float64))

    reciprocal_ranks = []
    sessions, items, times = columns("test", ["SessionId", "Time"])
    for session in dict.fromkeys(sessions.tolist()):
        seen = np.array([row_of.get(item, -1) for item in items[sessions == session].tolist()], np.int32)
        for n in range(1, len(seen)):
            found, _ = knn.query(seen[:n], now=float(times[0]), limit=21)
            ranked = found[found != seen[n - 1]][:20].tolist()
            reciprocal_ranks.append(1 / (ranked.index(seen[n]) + 1) if seen[n] in ranked else 0.0)
    assert len(reciprocal_ranks) == 931
    assert np.mean(reciprocal_ranks) >= 0.344


@pytest.mark.skipif(DATA is None, reason="HEADRACE_TEST_DATA names no folder of data sets")
@pytest.mark.parametrize(
    ("part", "columns"),
    [
        ("rsc15-100k/train_tr", ("SessionId", "ItemId", "Time")),
        ("serenade-example/train", ("SessionId", "ItemId", "Time")),
        ("yoochoose-1_64/train", ("session", "item", "pos")),
    ],
)
def test_recorded_clicks_give_what_the_reference_gives(part: str, columns: tuple[str, str, str]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(Path(str(DATA)) / f"{part}.parquet").slice(0, 6000)
    sessions, items, times = (table[name].to_numpy() for name in columns)
    rows = np.unique(items, return_inverse=True)[1]
    bounds = {"sessions": 1000, "postings": 50, "session_length": 8, "neighbours": 30}
    knn, reference = SessionKnn(SessionKnnConfig(**bounds)), ReferenceSessionKnn(**bounds)
    stream = list(zip(sessions.tolist(), rows.tolist(), times.astype(float).tolist(), strict=True))
    for n, click in enumerate(stream):
        if n % 60 == 59:
            same(knn, reference, [row for key, row, _ in stream[n - 9 : n] if key == click[0]], 20)
        knn.learn_one(*click)
        reference.learn(*click)
