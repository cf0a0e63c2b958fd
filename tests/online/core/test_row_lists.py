from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from online.core.row_lists import apportioned, best_sums, places, sums_of, united

Lists = list[NDArray[np.int32]]


def some_lists(seed: int) -> Lists:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 30, size=rng.integers(12)).astype(np.int32) for _ in range(6)]


def flat(lists: Lists) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    return np.concatenate(lists), np.cumsum([0, *map(len, lists)])


@pytest.mark.parametrize("seed", range(20))
def test_places_are_those_that_a_search_through_the_list_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys, wanted = (
        rng.integers(-1, 2**31 if n else 9, size=n * 50, dtype=np.int32) for n in rng.integers(0, 3, size=2)
    )
    wanted = rng.permutation(np.concatenate([wanted, keys]))

    listed = keys.tolist()
    expected = [listed.index(key) if key in listed and key >= 0 else -1 for key in wanted.tolist()]
    assert places(keys, wanted).tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_those_of_what_a_dictionary_knows_of_each_code(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 9, size=(30, 1 + seed % 3)).astype(np.int32)
    keys, rows = rng.permutation(9)[:5].astype(np.int32), rng.integers(30, size=40).astype(np.int32)
    keys[0], values = -1, rng.random((5, 2))

    known = {key: value for key, value in zip(keys.tolist(), values, strict=True) if key >= 0}
    expected = [sum((known.get(code, np.zeros(2)) for code in codes[row].tolist()), np.zeros(2)) for row in rows]
    assert sums_of(keys, values, codes, rows).tolist() == [total.tolist() for total in expected]


@pytest.mark.parametrize("seed", range(20))
def test_the_union_has_each_row_once_with_the_rank_and_score_of_each_list_that_names_it(seed: int) -> None:
    lists, columns = some_lists(seed), np.random.default_rng(seed).permutation(8)[:6]
    rows, bounds = flat(lists)
    scores = np.random.default_rng(seed).random(len(rows))

    skips = np.random.default_rng(seed).integers(-1, 4, size=6)
    most = 3 if seed % 2 else 100

    found, all_scores, ranks = united(rows, scores, bounds, columns, skips, 8, most)

    counted = [[at for at in range(bounds[n], bounds[n + 1]) if rows[at] != skips[n]][:most] for n in range(len(lists))]
    assert found.tolist() == sorted({int(rows[at]) for one in counted for at in one})
    for i, row in enumerate(found.tolist()):
        for column in range(8):
            own = counted[columns.tolist().index(column)] if column in columns else []
            rank = next((rank for rank, at in enumerate(own, start=1) if rows[at] == row), 0)
            assert ranks[i, column] == rank
            assert all_scores[i, column] == (scores[own[rank - 1]] if rank else 0.0)


def plain_best(rows: list[int], scores: list[float], limit: int) -> list[tuple[int, float]]:
    sums: dict[int, float] = {}
    for row, score in zip(rows, scores, strict=True):
        sums[row] = sums.get(row, 0.0) + score
    return sorted(sums.items(), key=lambda found: (-found[1], found[0]))[:limit]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_the_best_sums_are_those_of_sorting_all(seed: int, limit: int) -> None:
    rows, _ = flat(some_lists(seed))
    scores = np.random.default_rng(seed).integers(0, 4, size=len(rows)) / 2.0  # with ties

    best, sums = best_sums(rows, scores, limit)

    assert list(zip(best.tolist(), sums.tolist(), strict=True)) == plain_best(rows.tolist(), scores.tolist(), limit)


@pytest.mark.parametrize("everybody", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(20))
def test_apportioned_equals_the_plain_sum_of_quotients(seed: int, everybody: float) -> None:
    rng = np.random.default_rng(seed)
    lists = some_lists(seed)
    rows, bounds = flat(lists)
    starts = np.array([1, 4, 6])  # everybody, three lists of one facet, two of the other
    facets, codes, strengths = np.array([0, 1, 1, 0]), np.array([2, 0, 7, 0], np.int32), rng.random(4)  # 7 is newer

    counted = {0: everybody, 3: strengths[0], 4: strengths[1], 1: strengths[3]}
    named = [row for number in counted for row in lists[number].tolist()]
    quotients = [s / rank for number, s in counted.items() for rank in range(1, len(lists[number]) + 1)]
    expected = [one for one in plain_best(named, quotients, 100) if one[1] > 0.0][:7]
    found, scores = apportioned(rows, bounds, starts, facets, codes, strengths, everybody, 7)

    assert list(zip(found.tolist(), scores.tolist(), strict=True)) == expected


def test_strength_decides_how_many_come_from_each_list() -> None:
    rows, scores = apportioned(
        np.arange(200, dtype=np.int32), np.array([0, 100, 200]), np.array([1, 2]),
        np.array([0]), np.array([0], np.int32), np.array([1.0]), 3.0, 40,
    )  # fmt: skip

    assert np.count_nonzero(rows < 100) == 30
    assert sorted(scores, reverse=True) == scores.tolist()
