"""The kernels of the features against one candidate at a time in plain Python."""

from __future__ import annotations

from math import exp, isnan, log, log1p
from typing import Any

import numpy as np
import pytest

from online.core.decay import DAY_S, Decay
from online.core.features import COLUMNS, CROSSES, GROUPS, INDEX, Retrieved, Scene, gather
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy_document import SOURCES
from online.core.profile import Profile
from online.core.rates import Rates, facet
from online.core.record import TYPE_CODES, Touch, UserRecord
from online.core.session import session_touches
from online.core.update import Update
from schemas.item import Item

T0 = Decay().landmark(1_700_000_000.0)
NOW = T0 + 5000.0
ITEMS = 40
CLICKS = [TYPE_CODES[name] for name in ("click", "add_to_cart", "purchase")]

Row = dict[str, float]


def world(rng: np.random.Generator) -> ItemTable:
    """Items with and without facets, prices and clicks."""
    table = ItemTable(1)
    for n in range(ITEMS):
        facets: dict[str, Any] = {"categories": [f"c{c}" for c in rng.choice(6, size=rng.integers(4), replace=False)]}
        if rng.random() < 0.7:
            facets |= {"brand": f"b{rng.integers(4)}", "price": float(rng.integers(1, 500))}
        table.put(Item(item_id=f"i{n}", updated_at=T0, created_at=T0 - float(rng.random()) * 30 * DAY_S, **facets))
    stats = {}
    for n in rng.choice(ITEMS, size=30, replace=False).tolist():
        shown = float(rng.integers(1, 90))
        counts = {TYPE_CODES["impression"]: shown, TYPE_CODES["click"]: shown * float(rng.random()), CLICKS[1]: 2.0}
        stats[f"i{n}"] = ItemStats(T0, (rng.random(3) * 9).tolist(), counts, T0, T0, total=float(rng.random()) * 99)
    table.apply(Update(0, 1, stats, []))
    return table


def somebody(rng: np.random.Generator) -> UserRecord:
    names = [f"i{n}" for n in range(ITEMS)] + ["gone"]
    keys = (names, [f"c{n}" for n in range(6)], [f"b{n}" for n in range(4)], [str(n) for n in range(9)])
    times = np.sort(NOW - rng.random(12) * 4000.0).tolist()
    return UserRecord(
        landmark=T0,
        affinities=[{key: rng.normal(size=3).tolist() for key in of_facet if rng.random() < 0.5} for of_facet in keys],
        recent=[Touch(t, str(rng.choice(names)), int(rng.choice([1, *CLICKS])), int(rng.integers(2))) for t in times],
        seen={name: 1 for name in names if rng.random() < 0.3},
    )


def scene(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    table = world(rng)
    rows = rng.choice(ITEMS, size=25, replace=False).astype(np.int32)
    shape = (len(rows), len(SOURCES))
    ranks = (rng.integers(0, 9, size=shape) * (rng.random(shape) < 0.4)).astype(np.int32)
    odds = np.where(rng.random(len(rows)) < 0.5, -rng.random(len(rows)) * 20.0, -np.inf)
    found = Retrieved(rows, rng.normal(size=shape) * (ranks > 0), ranks, odds)
    session = rng.integers(0, ITEMS, size=rng.integers(0, 30)).astype(np.int32)
    profile = Profile.of(table, somebody(rng), NOW)
    return Scene(table, Rates(table), found, profile, session, {"device": "phone", "hour": 7}, float(rng.random()))


def source(given: Scene, i: int) -> Row:
    scores, ranks = given.found.scores, given.found.ranks
    row = {f"{name}_rank": 1.0 / r if (r := ranks[i, n]) else 0.0 for n, name in enumerate(SOURCES)}
    for name in ("session_knn", "audience", "session_blend"):
        of_source = scores[:, SOURCES.index(name)]
        row[f"{name}_score"] = of_source[i] / of_source.max() if of_source.max() > 0.0 else of_source[i]
    odds = (1.0 - 0.7 * given.untaught) * max(10.0 + given.found.odds[i], 0.0) / 2.0
    row["untaught_neighbour"] = row["session_knn_score"] * given.untaught
    return row | {"vectors_score": scores[i, SOURCES.index("vectors")], "session_odds": odds}


def affinity(given: Scene, i: int) -> Row:
    table, record, item = given.table, given.profile.record, given.found.rows[i]
    fading = table.decay.fading(NOW, record.landmark)

    def share(facet: int, names: list[str], half_life: int) -> float:
        keys = record.affinities[facet]
        strength = {key: weights[half_life] * fading[half_life] for key, weights in keys.items()}
        return sum(strength.get(name, 0.0) for name in names) / (1.0 + sum(map(abs, strength.values())))

    item_id = table.ids.names[item]
    categories, brand, tier = table.facets(item_id)
    brands, tiers = [str(brand)], [str(tier)]
    return {
        "item_affinity": share(0, [item_id], -1),
        "category_recent": share(1, categories, 0),
        "category_lasting": share(1, categories, -1),
        "brand_recent": share(2, brands, 0),
        "brand_lasting": share(2, brands, -1),
        "price_tier_lasting": share(3, tiers, -1),
    }


def item(given: Scene, i: int) -> Row:
    table, rows = given.table, given.found.rows.tolist()
    fading = table.fading(NOW).tolist()

    def counted(row: int) -> Row:
        first, middle, _, _, clicks, carts, purchases, total = table.totals[row].tolist()
        popularity = log1p(middle * fading[1])
        return {
            "standing": popularity + log1p(total),
            "popularity": popularity,
            "trend": log1p(first * fading[0]) / max(popularity, 1e-9),
            "clicks": log1p(clicks * fading[2]),
            "carts": log1p(carts * fading[2]),
            "purchases": log1p(purchases * fading[2]),
        }

    all_counted = [counted(row) for row in rows]
    best = {name: max(1e-9, *(one[name] for one in all_counted)) for name in all_counted[0]} | {"trend": 1.0}
    rates, own = given.rates, given.found.rows[i : i + 1]
    return {name: value / best[name] for name, value in all_counted[i].items()} | {
        "ctr": rates.items(table, own)[0],
        "category_ctr": facet(rates.category, table.category[own, 0])[0],
        "brand_ctr": facet(rates.brand, table.brand[own])[0],
        "price_tier_ctr": facet(rates.tier, table.tier[own])[0],
        "age": exp(-log(2.0) * (NOW - table.created[rows[i]]) / (7 * DAY_S)),
    }


def session(given: Scene, i: int) -> Row:
    table, item = given.table, given.found.rows[i]
    items = given.session.tolist()[::-1]
    latest = items[:20]

    def share(codes: Any) -> float:
        return sum(codes[row] == codes[item] >= 0 for row in latest) / max(len(latest), 1)

    first = table.category[:, 0]
    is_last = float(bool(items) and first[items[0]] == first[item] >= 0)
    return {
        "seen": float(table.ids.names[item] in given.profile.record.seen),
        "in_session": float(item in items),
        "session_recency": 1.0 / (1.0 + latest.index(item)) if item in latest else 0.0,
        "session_count": log1p(latest.count(item)),
        "session_category": share(first),
        "session_brand": share(table.brand),
        "session_length": log1p(len(items)),
        "last_category": is_last,
        "untaught_category": is_last * given.untaught,
    }


def price(given: Scene, i: int) -> Row:
    table, row = given.table, {}
    own = table.log_price[given.found.rows[i]]
    recent = table.rows(touch.item_id for touch in given.profile.record.recent)
    for name, others in (("price_session", given.session), ("price_user", recent)):
        known = [p for p in table.log_price[others].tolist() if not isnan(p)]
        ratio = own - sum(known) / len(known) if known and not isnan(own) else 0.0
        row |= {name: min(max(ratio, -3.0), 3.0), f"{name}_gap": min(abs(ratio), 3.0)}
    return row


def touch(given: Scene, i: int) -> Row:
    names = ("viewed_rank", "viewed_fresh", "clicked_rank", "clicked_fresh", "touches")
    row = dict.fromkeys(names, 0.0)
    touches = session_touches(given.profile.record.recent, NOW)[::-1]
    item_id = given.table.ids.names[given.found.rows[i]]
    own = [one for one in touches if one.item_id == item_id]
    if own:
        order = list(dict.fromkeys(one.item_id for one in touches))
        how = "clicked" if own[0].type_code in CLICKS else "viewed"
        row[f"{how}_rank"] = 1.0 / (1 + order.index(item_id))
        row[f"{how}_fresh"] = 1.0 / (1.0 + (NOW - own[0].time) / 60.0)
        row["touches"] = log1p(len(own))
    return row


PLAIN = {
    "source": source,
    "affinity": affinity,
    "item": item,
    "session": session,
    "price": price,
    "touch": touch,
}


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("group", PLAIN)
def test_a_group_says_of_each_candidate_what_plain_python_says(group: str, seed: int) -> None:
    given = scene(seed)

    matrix = gather(given)

    columns = {name: INDEX[name] for one in GROUPS if one.name == group for name in (f.name for f in one.features)}
    for i in range(len(given.found.rows)):
        found = {name: matrix[i, column].item() for name, column in columns.items()}
        assert found == pytest.approx(PLAIN[group](given, i), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_crosses_are_the_products_of_their_features(seed: int) -> None:
    matrix = gather(scene(seed))

    for column, (left, right) in zip(matrix[:, COLUMNS["cross"]].T, CROSSES, strict=True):
        assert column.tolist() == (matrix[:, INDEX[left]] * matrix[:, INDEX[right]]).tolist()
