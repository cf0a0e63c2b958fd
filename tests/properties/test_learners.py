"""What holds for every learner. A new learner joins by one more entry in `LEARNERS`."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from online.models.item_factors import ItemFactors, ItemFactorsConfig
from online.models.session_knn import SessionKnn, SessionKnnConfig

State = Mapping[str, NDArray[Any]]
N = 3000


@dataclass(frozen=True)
class Learner:
    """How to make, feed, ask and restore one kind of learner; clicks are numbered 0 to N - 1."""

    name: str
    make: Callable[[], Any]
    learn_one: Callable[[Any, int], None]
    learn_many: Callable[[Any, int, int], None]
    query: Callable[[Any], bytes]
    restore: Callable[[State], Any]


_random = np.random.default_rng(5)
SESSIONS = (_random.integers(0, 30, N) + np.arange(N) // 6).astype(np.uint64)
ITEMS = (_random.zipf(1.4, N) % 400).astype(np.int32)
TIMES = np.arange(N, dtype=np.float64)
CONTEXTS = np.stack([np.roll(ITEMS, 1), np.roll(ITEMS, 2)], axis=1)
CONTEXTS[::5] = -1

_KNN = SessionKnnConfig(sessions=200, postings=30, session_length=6, neighbours=10, half_life_s=500.0)
_FACTORS = ItemFactorsConfig(dim=8, recent_clicks=500, seed=11)


def _ask_knn(knn: SessionKnn) -> bytes:
    answers = [knn.query(ITEMS[n : n + 4], now=float(N), limit=10) for n in range(0, N, 100)]
    return b"".join(array.tobytes() for answer in answers for array in answer)


LEARNERS = [
    Learner(
        "session_knn",
        make=lambda: SessionKnn(_KNN),
        learn_one=lambda knn, n: knn.learn_one(int(SESSIONS[n]), int(ITEMS[n]), float(TIMES[n])),
        learn_many=lambda knn, a, b: knn.learn_many(SESSIONS[a:b], ITEMS[a:b], TIMES[a:b]),
        query=_ask_knn,
        restore=lambda state: SessionKnn.from_state(_KNN, state),
    ),
    Learner(
        "item_factors",
        make=lambda: ItemFactors(_FACTORS),
        learn_one=lambda f, n: f.learn_one(CONTEXTS[n][CONTEXTS[n] >= 0], int(ITEMS[n])),
        learn_many=lambda f, a, b: f.learn_many(CONTEXTS[a:b], ITEMS[a:b]),
        query=lambda f: f.vectors.tobytes(),
        restore=lambda state: ItemFactors.from_state(_FACTORS, state),
    ),
]


@pytest.fixture(params=LEARNERS, ids=lambda learner: learner.name)
def learner(request: pytest.FixtureRequest) -> Learner:
    kind: Learner = request.param
    return kind


def learned(learner: Learner, n: int = N) -> Any:
    made = learner.make()
    learner.learn_many(made, 0, n)
    return made


def bytes_of(state: State) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


def through_npz(state: State) -> State:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def test_one_by_one_equals_a_batch(learner: Learner) -> None:
    one_by_one = learner.make()
    for n in range(N):
        learner.learn_one(one_by_one, n)
    assert bytes_of(one_by_one.state()) == bytes_of(learned(learner).state())


def test_how_a_stream_is_cut_into_batches_does_not_matter(learner: Learner) -> None:
    pieces = learner.make()
    for first, last in [(0, 1), (1, 1), (1, 700), (700, 701), (701, N)]:
        learner.learn_many(pieces, first, last)
    assert bytes_of(pieces.state()) == bytes_of(learned(learner).state())


def test_the_same_seed_and_stream_give_the_same_bytes(learner: Learner) -> None:
    first, second = learned(learner), learned(learner)
    assert bytes_of(first.state()) == bytes_of(second.state())
    assert learner.query(first) == learner.query(second)


def test_learning_changes_the_answer(learner: Learner) -> None:
    assert learner.query(learned(learner, N - 500)) != learner.query(learned(learner))


def test_a_query_changes_nothing(learner: Learner) -> None:
    asked = learned(learner)
    before = bytes_of(asked.state())
    first = learner.query(asked)
    assert learner.query(asked) == first
    assert bytes_of(asked.state()) == before


def test_a_restored_snapshot_answers_and_goes_on_as_the_original(learner: Learner) -> None:
    original = learned(learner, N // 2)
    restored = learner.restore(through_npz(original.state()))
    assert learner.query(restored) == learner.query(original)
    for made in (original, restored):
        learner.learn_many(made, N // 2, N)
    assert learner.query(restored) == learner.query(original)
    assert bytes_of(restored.state()) == bytes_of(original.state())


def test_a_snapshot_is_a_value_that_later_learning_does_not_change(learner: Learner) -> None:
    made = learned(learner, N // 2)
    state = made.state()
    before = bytes_of(state)
    learner.learn_many(made, N // 2, N)
    assert bytes_of(state) == before


def test_restoring_leaves_the_snapshot_alone(learner: Learner) -> None:
    state = learned(learner, N // 2).state()
    before = bytes_of(state)
    learner.learn_many(learner.restore(state), N // 2, N)
    assert bytes_of(state) == before


def test_an_empty_learner_can_be_kept_and_restored(learner: Learner) -> None:
    restored = learner.restore(through_npz(learner.make().state()))
    learner.learn_many(restored, 0, N)
    assert bytes_of(restored.state()) == bytes_of(learned(learner).state())


def test_read_only_input_is_learned_alike(learner: Learner) -> None:
    expected = bytes_of(learned(learner).state())
    arrays = (SESSIONS, ITEMS, TIMES, CONTEXTS)
    try:
        for array in arrays:
            array.flags.writeable = False
        assert bytes_of(learned(learner).state()) == expected
    finally:
        for array in arrays:
            array.flags.writeable = True
