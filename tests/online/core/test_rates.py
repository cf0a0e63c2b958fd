from __future__ import annotations

import numpy as np
import pytest

from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.rates import MAX_STRENGTH, Rates, facet, strength
from online.core.record import TYPE_CODES
from online.core.update import Update
from schemas.item import Item

SHOWN, CLICKED = TYPE_CODES["impression"], TYPE_CODES["click"]


def table_of(counts: dict[str, tuple[str, float, float]]) -> ItemTable:
    """A table of items: category, impressions, clicks."""
    table = ItemTable(partitions=1)
    for item, (category, _, _) in counts.items():
        table.put(Item(item_id=item, updated_at=0.0, created_at=0.0, categories=[category]))
    stats = {i: ItemStats(0.0, [0.0] * 3, {SHOWN: n, CLICKED: k}, 0.0, 0.0) for i, (_, n, k) in counts.items()}
    table.apply(Update(0, 1, stats, []))
    return table


@pytest.mark.parametrize("planted", [10.0, 50.0, 200.0])
def test_a_planted_strength_is_found(planted: float) -> None:
    rng = np.random.default_rng(3)
    rates = rng.beta(0.1 * planted, 0.9 * planted, 3000)
    shown = rng.integers(20, 400, 3000).astype(float)

    assert strength(shown, rng.binomial(shown.astype(int), rates).astype(float)) == pytest.approx(planted, rel=0.25)


def test_shrinking_errs_less_than_raw_rates_do() -> None:
    rng = np.random.default_rng(4)
    true = rng.beta(2.0, 18.0, 400)
    shown = rng.integers(1, 60, 400)
    counts = {f"i{n}": ("c", float(shown[n]), float(rng.binomial(shown[n], true[n]))) for n in range(400)}
    table = table_of(counts)
    rates = Rates(table)

    shrunk = rates.mean * np.exp(rates.items(table, np.arange(400, dtype=np.int32)))

    raw = np.array([k / n for _, n, k in counts.values()])
    assert ((shrunk - true) ** 2).mean() < 0.5 * ((raw - true) ** 2).mean()


def test_an_unseen_item_has_its_categorys_rate_and_an_unknown_category_that_of_everything() -> None:
    table = table_of({"a": ("good", 1e4, 4e3), "b": ("bad", 1e4, 1e2), "c": ("good", 0.0, 0.0)})
    rates = Rates(table)
    table.put(Item(item_id="d", updated_at=0.0, created_at=0.0, categories=["new"]))

    good, _, unseen, new = rates.items(table, np.arange(4, dtype=np.int32))

    assert unseen == pytest.approx(facet(rates.category, np.array([0]))[0])
    assert good == pytest.approx(unseen, rel=0.05)
    assert new == 0.0


def test_without_impressions_or_spread_nothing_is_said() -> None:
    silent = table_of({"a": ("x", 0.0, 5.0), "b": ("y", 0.0, 0.0)})

    assert Rates(silent).items(silent, np.array([0, 1], np.int32)).tolist() == [0.0, 0.0]
    assert Rates(ItemTable(1)).mean == 0.0
    assert strength(np.array([50.0, 50.0]), np.array([5.0, 5.0])) == MAX_STRENGTH
