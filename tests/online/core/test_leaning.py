from __future__ import annotations

import numpy as np
import pytest

from online.core.decay import DAY_S, Decay
from online.core.item_table import ItemTable
from online.core.leaning import STRONGEST, leaning
from online.core.profile import Profile
from online.core.record import UserRecord
from schemas.item import Item

T0 = Decay().landmark(1_700_000_000.0)


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


def leant(table: ItemTable, record: UserRecord, *session: int, now: float = T0) -> list[dict[int, float]]:
    """Return code -> strength of each facet, strongest first."""
    found = leaning(table, Profile.of(table, record, now), np.array(session, np.int32))
    rows = list(zip(*(column.tolist() for column in found), strict=True))
    return [{code: strength for of, code, strength in rows if of == facet} for facet in range(3)]


def test_a_guest_leans_to_what_the_session_holds_its_latest_items_most(table: ItemTable) -> None:
    categories, brands, tiers = leant(table, UserRecord(), 2, 3, 4)

    assert list(categories) == [4, 3, 2]
    assert brands == {0: pytest.approx(0.5 * (categories[4] + categories[2]))}
    assert tiers == {row: pytest.approx(0.25 * strength) for row, strength in categories.items()}
    assert leant(table, UserRecord()) == [{}, {}, {}]


def test_affinities_count_as_they_are_now_and_dislikes_do_not(table: ItemTable) -> None:
    record = liking(c1=8.0, c2=-8.0, unknown=8.0)

    now, later = (leant(table, record, now=T0 + days * DAY_S)[0] for days in (0, 30))

    assert now == {1: pytest.approx(2 * 8 / 25)}
    assert later[1] < now[1]


def test_a_session_adds_to_a_taste_and_the_strongest_stay(table: ItemTable) -> None:
    record = liking(**{f"c{n}": 1.0 + n for n in range(20)})

    categories, _, _ = leant(table, record, 0)

    assert len(categories) == STRONGEST
    assert next(iter(categories)) == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_strongest_are_those_of_sorting_what_all_add_up_to(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = ItemTable(1)
    for n in range(30):
        categories = [f"c{c}" for c in rng.choice(25, size=rng.integers(4), replace=False)]
        table.put(Item(item_id=str(n), updated_at=T0, created_at=T0, categories=categories))
    record = liking(**{f"c{c}": float(rng.normal()) for c in rng.choice(30, size=20, replace=False)})
    session = rng.integers(30, size=rng.integers(12)).tolist()

    shares = {name: 2 * w[0] / (1 + sum(abs(v[0]) for v in record.affinities[1].values()))
              for name, w in record.affinities[1].items()}  # fmt: skip
    strengths = {table.categories.codes[name]: s for name, s in shares.items() if name in table.categories.codes}
    latest = session[-8:]
    weights = [2.0 ** ((n + 1 - len(latest)) / 2.0) for n in range(len(latest))]
    for row, weight in zip(latest, weights, strict=True):
        for code in table.category[row].tolist():
            if code >= 0:
                strengths[code] = strengths.get(code, 0.0) + weight / (1.0 + sum(weights))
    best = sorted(strengths.items(), key=lambda one: (-one[1], one[0]))[:STRONGEST]

    found = leant(table, record, *session)[0]
    assert list(found) == [code for code, strength in best if strength > 0.0]
    assert list(found.values()) == pytest.approx([strength for _, strength in best if strength > 0.0])
