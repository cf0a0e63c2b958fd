from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from online.core.decay import DAY_S, Decay
from online.core.item_table import ItemTable
from online.core.leaning import STRONGEST, apportioned, leaning
from online.core.record import UserRecord
from schemas.item import Item

T0 = Decay().landmark(1_700_000_000.0)
NONE = np.empty(0, np.int32)


@pytest.fixture
def table() -> ItemTable:
    """Items 0 to 19, each of a category and a tier of its own; even ones are of brand `even`."""
    table = ItemTable(partitions=1)
    for n in range(20):
        brand = "even" if n % 2 == 0 else None
        table.put(
            Item(item_id=str(n), updated_at=T0, created_at=T0, categories=[f"c{n}"], brand=brand, price=4.0**n + 1)
        )
    return table


def liking(**categories: float) -> UserRecord:
    record = UserRecord(landmark=T0)
    record.affinities[1] = {name: [weight] * 3 for name, weight in categories.items()}
    return record


def test_a_guest_leans_to_what_the_session_holds_its_latest_items_most(table: ItemTable) -> None:
    categories, brands, tiers = leaning(table, UserRecord(), np.array([2, 3, 4], np.int32), T0)

    assert list(categories) == [4, 3, 2]
    assert brands == {0: pytest.approx(0.5 * (categories[4] + categories[2]))}
    assert tiers == {row: pytest.approx(0.25 * strength) for row, strength in categories.items()}
    assert leaning(table, UserRecord(), NONE, T0) == ({}, {}, {})


def test_affinities_count_as_they_are_now_and_dislikes_do_not(table: ItemTable) -> None:
    record = liking(c1=8.0, c2=-8.0, unknown=8.0)

    now, later = (leaning(table, record, NONE, T0 + days * DAY_S)[0] for days in (0, 30))

    assert now == {1: pytest.approx(2 * 8 / 25)}
    assert later[1] < now[1]


def test_a_session_adds_to_a_taste_and_the_strongest_stay(table: ItemTable) -> None:
    record = liking(**{f"c{n}": 1.0 + n for n in range(20)})

    categories, _, _ = leaning(table, record, np.array([0], np.int32), T0)

    assert len(categories) == STRONGEST
    assert next(iter(categories)) == 0


def test_strength_decides_how_many_come_from_each_list() -> None:
    first, second = np.arange(100, dtype=np.int32), np.arange(100, 200, dtype=np.int32)

    rows, scores = apportioned([(3.0, first), (1.0, second)], 40)

    assert np.count_nonzero(rows < 100) == 30
    assert sorted(scores, reverse=True) == scores.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_apportioned_equals_the_plain_sum_of_quotients(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [(float(rng.random()), rng.permutation(30)[: rng.integers(9)].astype(np.int32)) for _ in range(6)]

    scores: dict[int, float] = {}
    for row, quotient in chain.from_iterable(
        [(row, strength / rank) for rank, row in enumerate(rows.tolist(), 1)] for strength, rows in lists
    ):
        scores[row] = scores.get(row, 0.0) + quotient
    best = sorted(scores, key=lambda row: (-scores[row], row))[:7]

    rows, values = apportioned(lists, 7)
    assert rows.tolist() == best
    assert values == pytest.approx([scores[row] for row in best])
    assert rows.dtype == np.int32
