from __future__ import annotations

import numpy as np
import pytest

from replay.session_evaluation import (
    Clicks,
    SessionEvaluation,
    best,
    by_session,
    discounts,
    document,
    gain,
    session_numbers,
)


def clicks(*sessions: tuple[int, float, list[int]]) -> Clicks:
    """Sessions (key, start, rows), a click a second."""
    flat = sorted((start + n, key, row) for key, start, rows in sessions for n, row in enumerate(rows))
    times, keys, rows = zip(*flat, strict=True)
    return Clicks(np.array(keys, np.uint64), np.array(rows, np.int32), np.array(times))


TRAIN = clicks(*((key, 100.0 * key, [key % 3, 3 + key % 3]) for key in range(60)))


def evaluation(*, repeats: bool = True) -> SessionEvaluation:
    return SessionEvaluation(TRAIN, 6, sessions=100, repeats=repeats, report=lambda what, done, total: None)


def test_every_prefix_of_every_session_is_a_case() -> None:
    test = clicks((7, 0.0, [1, 2, 3]), (9, 0.5, [4]), (8, 0.2, [5, 5]))
    cases = [case for of_session in by_session(test) for case in of_session]
    assert [(case.session, case.prefix.tolist(), case.target) for case in cases] == [
        (7, [1], 2),
        (7, [1, 2], 3),
        (8, [5], 5),
    ]
    assert [case.number for case in cases] == [0, 1, 2]
    numbers = session_numbers(test)
    assert (len(numbers), len(set(numbers.tolist()))) == (3, 2)


def test_what_train_taught_is_found_and_what_it_never_saw_is_a_miss() -> None:
    ranks = evaluation().static(clicks((900, 1e4, [0, 3]), (901, 1e4, [1, 77]), (902, 1e4, [77, 77])))
    assert ranks.ours.tolist() == [1, 0, 0]
    assert ranks.ranks["session_knn"].tolist() == [2, 0, 0]  # a neighbour votes most for the match itself
    assert ranks.ranks["sequential_rules"].tolist() == [1, 0, 0]


def test_the_current_item_as_a_target_is_a_hit_only_where_repeats_are_allowed() -> None:
    test = clicks((900, 1e4, [0, 0]))
    assert evaluation(repeats=True).static(test).ours[0] > 0
    assert evaluation(repeats=False).static(test).ours[0] == 0
    assert evaluation(repeats=False).static(test).ranks["popularity"][0] == 0


def test_streaming_learns_what_others_clicked_and_static_does_not() -> None:
    test = clicks(*((900 + n, 1e4 + 100.0 * n, [2, 8]) for n in range(10)))
    evaluated = evaluation()
    static, own, streaming = evaluated.static(test), evaluated.own(test), evaluated.streaming(test)
    assert not static.ours.any()
    assert not own.ours.any()
    assert streaming.ours[0] == 0
    assert (streaming.ours[1:] > 0).all()
    assert evaluated.static(test).ours.tolist() == static.ours.tolist()
    sessions = session_numbers(test)
    assert gain("own", own.ours, static.ours, sessions, seed=1)["own"] == 0.0
    assert gain("other", streaming.ours, own.ours, sessions, seed=1)["other_ci"][0] > 0.0


def test_the_own_sessions_part_is_what_its_own_clicks_teach() -> None:
    test = clicks((900, 1e4, [0, 1, 0, 1, 0, 1, 0, 1]), (901, 2e4, [0, 1]))
    evaluated = evaluation()
    own = evaluated.own(test).ours
    assert own[-2] == 1
    assert own[-1] == evaluated.static(test).ours[-1]


def test_a_document_has_the_figures_of_each_model_alone() -> None:
    test = clicks((900, 1e4, [0, 3]), (901, 1e4, [1, 4]))
    found = document(evaluation().static(test), session_numbers(test), seed=1)
    keys = ["n", "hr@20", "hr@20_ci", "mrr@20", "mrr@20_ci", "ndcg@20", "ndcg@20_ci", "coverage"]
    assert list(found) == [*keys, "baselines"]
    assert set(found["baselines"]) == {"popularity", "sequential_rules", "session_knn"}
    assert all(list(one) == keys for one in found["baselines"].values())
    assert (found["n"], found["hr@20"], found["mrr@20"], found["mrr@20_ci"]) == (2, 1.0, 1.0, [1.0, 1.0])


def test_the_most_clicked_are_best_with_one_to_spare() -> None:
    counts = np.arange(50)
    assert best(counts).tolist() == list(range(49, 28, -1))


def test_a_lower_rank_is_discounted_by_its_logarithm() -> None:
    assert discounts(np.array([0, 1, 3])).tolist() == pytest.approx([0.0, 1.0, 0.5])
