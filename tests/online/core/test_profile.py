from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from online.core.decay import Decay
from online.core.item_table import ItemTable
from online.core.profile import Profile, shares
from online.core.record import TYPE_CODES, Touch, UserRecord
from online.core.step import FoldConfig, sum_up
from schemas.item import Item


@pytest.fixture
def table() -> ItemTable:
    table = ItemTable(1, Decay((10.0, 100.0)))
    for n in range(3):
        table.put(Item(item_id=f"i{n}", updated_at=0.0, created_at=0.0, categories=[f"c{n % 2}"], brand="b"))
    return table


def test_affinities_have_the_codes_of_the_table_facet_after_facet(table: ItemTable) -> None:
    record = UserRecord(affinities=[{"i2": [3.0, 4.0], "gone": [1.0, 0.0]}, {"c1": [1.0, 2.0]}, {}, {"0": [2.0, 2.0]}])

    affinities = Profile.of(table, record, now=0.0).affinities

    assert [affinities.codes[affinities.of(facet)].tolist() for facet in range(4)] == [[2, -1], [1], [], [-1]]
    assert affinities.weights.tolist() == [[3.0, 4.0], [1.0, 0.0], [1.0, 2.0], [2.0, 2.0]]
    assert affinities.shares[0].tolist() == [3 / 5, 4 / 5]


def test_shares_fade_with_time_against_the_added_one(table: ItemTable) -> None:
    record = UserRecord(affinities=[{"i0": [4.0, 4.0]}, {}, {}, {}])

    fresh, faded = (Profile.of(table, record, now).affinities.shares[0].tolist() for now in (0.0, 20.0))

    assert fresh == [0.8, 0.8]
    assert faded[0] == pytest.approx(0.5)
    assert 0.5 < faded[1] < 0.8


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_each_weight_by_the_strength_of_its_facet_and_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 5, size=4)
    weights = rng.normal(size=(lengths.sum(), 3))
    bounds = np.concatenate([[0], np.cumsum(lengths)])

    found = shares(weights, bounds, 0.5, 0.25)

    for first, end in pairwise(bounds):
        for column, half_life, factor in ((0, 0, 0.5), (1, -1, 0.25)):
            own = weights[first:end, half_life] * factor
            assert found[first:end, column] == pytest.approx(own / (1.0 + np.abs(own).sum()))


def test_touches_are_of_the_session_open_now_and_the_others_are_recent_as_well(table: ItemTable) -> None:
    click = TYPE_CODES["click"]
    recent = [Touch(0.0, "i0", click, 1), Touch(9.0, "gone", click, 2), Touch(10.0, "i2", click, 2)]

    profile = Profile.of(table, UserRecord(recent=recent), now=20.0)

    assert profile.touches == recent[1:]
    assert profile.touched.tolist() == [-1, 2]
    assert profile.recent.tolist() == [0, -1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_touches_that_the_tables_do_not_have_yet_count_as_those_that_they_have(table: ItemTable, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def record() -> UserRecord:
        rng = np.random.default_rng(seed)
        touches = [
            Touch(
                float(n), f"i{rng.integers(5)}", 2, 0, (f"c{rng.integers(3)}", f"c{3 + rng.integers(2)}")[: n % 3],
                "b" if n % 2 else "", "1" if n % 4 else "", float(rng.random()) * (n != 3),
            )
            for n in range(8)
        ]  # fmt: skip
        return UserRecord(recent=touches, affinities=[{"i1": [2.0, 1.0]}, {"c1": [-0.5, 1.0]}, {}, {}], seen={"i9": 1})

    for name in ("0", "1", "c2"):
        (table.tiers if name < "a" else table.categories).code(name)
    now = 8.0 + float(rng.random())
    fresh = Profile.of(table, record(), now)
    settled = Profile.of(table, sum_up(record(), FoldConfig(decay=table.decay)), now)

    for facet in range(4):
        one, other = _shares(fresh, facet), _shares(settled, facet)
        assert one.keys() == other.keys() != set()
        for code, expected in other.items():
            assert one[code] == pytest.approx(expected)
    assert set(fresh.seen.tolist()) == set(settled.seen.tolist())


def _shares(profile: Profile, facet: int) -> dict[int, list[float]]:
    """Return code -> shares; what the table does not know adds up, since it is only ever summed."""
    found: dict[int, list[float]] = {}
    own = profile.affinities.of(facet)
    for code, shares_of in zip(profile.affinities.codes[own].tolist(), profile.affinities.shares[own], strict=True):
        before = found.get(code, [0.0, 0.0])
        found[code] = [a + b for a, b in zip(before, shares_of.tolist(), strict=True)]
    return found
