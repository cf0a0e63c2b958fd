from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.core.decay import DAY_S, Decay
from online.core.features import (
    COLUMNS,
    CROSSES,
    FEATURES,
    GROUPS,
    NAMES,
    Retrieved,
    Scene,
    gather,
    position_feature,
)
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy_document import SOURCES
from online.core.profile import Profile
from online.core.rates import Rates
from online.core.record import TYPE_CODES, Touch, UserRecord
from online.core.step import Context
from online.core.update import Update
from schemas.item import Item

T0 = Decay().landmark(1_700_000_000.0)  # a landmark, so that weights are plain numbers
ITEMS = ["boot", "shoe", "book", "pen"]


@pytest.fixture
def table() -> ItemTable:
    """Two shoes of one brand, a book of another, and a pen without category or brand."""
    table = ItemTable(partitions=1)
    facets: dict[str, dict[str, Any]] = {
        "boot": {"categories": ["shoes", "winter"], "brand": "acme", "price": 50.0},
        "shoe": {"categories": ["shoes"], "brand": "acme", "price": 50.0},
        "book": {"categories": ["books"], "brand": "press", "price": 10.0},
        "pen": {},
    }
    for item_id in ITEMS:
        table.put(Item(item_id=item_id, updated_at=T0, created_at=T0 - 7 * DAY_S, **facets[item_id]))
    return table


def features(
    table: ItemTable,
    *,
    record: UserRecord | None = None,
    session: list[str] | None = None,
    knn: list[float] | None = None,
    ann: list[float] | None = None,
    odds: list[float] | None = None,
    now: float = T0,
    context: Context | None = None,
) -> dict[str, list[float]]:
    """Return each feature's column over `ITEMS`."""
    c = len(ITEMS)
    found = Retrieved.unsourced(np.arange(c, dtype=np.int32))
    for source, scores in (("session_knn", knn), ("vectors", ann)):
        if scores is not None:
            found.scores[:, SOURCES.index(source)] = scores
            best_first = sorted((-score, row) for row, score in enumerate(scores) if score)
            found.ranks[[row for _, row in best_first], SOURCES.index(source)] = range(1, 1 + len(best_first))
    if odds is not None:
        found.odds[:] = odds
    rows = np.array([table.ids.codes[item] for item in session or []], np.int32)
    profile = Profile.of(table, record or UserRecord(), now)
    matrix = gather(Scene(table, Rates(table), found, profile, rows, context or {}))
    assert matrix.dtype == np.float32
    assert matrix.shape == (c, len(FEATURES))
    return {name: matrix[:, i].astype(float).round(5).tolist() for i, name in enumerate(NAMES)}


def liking(*, facet: int, **weights: list[float]) -> UserRecord:
    record = UserRecord(landmark=T0)
    record.affinities[facet] = dict(weights)
    return record


def count(table: ItemTable, **stats: dict[str, float]) -> None:
    """Apply aggregates: `popularity`, or a count by event type, all at the landmark."""
    update = {
        item: ItemStats(
            landmark=T0,
            popularity=[given.get("fast", given.get("popularity", 0.0)), *[given.get("popularity", 0.0)] * 2],
            counts={TYPE_CODES[kind]: n for kind, n in given.items() if kind in TYPE_CODES},
            first_time=T0,
            last_time=T0,
        )
        for item, given in stats.items()
    }
    table.apply(Update(0, table.applied.get(0, 0) + 1, update, []))


def test_names_are_distinct() -> None:
    assert len(set(NAMES)) == len(FEATURES)


def test_session_knn_is_a_share_of_the_best_and_its_rank(table: ItemTable) -> None:
    found = features(table, knn=[2.0, 4.0, 0.0, 1.0])

    assert found["session_knn_score"] == [0.5, 1.0, 0.0, 0.25]
    assert found["session_knn_rank"] == [0.5, 1.0, 0.0, round(1 / 3, 5)]


def test_without_neighbours_session_knn_says_nothing(table: ItemTable) -> None:
    found = features(table)

    assert found["session_knn_score"] == found["session_knn_rank"] == [0.0] * 4


def test_session_odds_fall_from_the_likeliest_to_what_is_not_known(table: ItemTable) -> None:
    assert features(table, odds=[-5.0, 0.0, -np.inf, -12.0])["session_odds"] == [2.5, 5.0, 0.0, 0.0]
    assert features(table)["session_odds"] == [0.0] * 4


def test_ann_is_the_cosine(table: ItemTable) -> None:
    assert features(table, ann=[0.5, -0.25, 0.0, 1.0])["vectors_score"] == [0.5, -0.25, 0.0, 1.0]


def test_item_affinity_is_the_users_lasting_share_of_the_item(table: ItemTable) -> None:
    record = liking(facet=0, shoe=[0.0, 0.0, 3.0], gone=[0.0, 0.0, 1.0])

    assert features(table, record=record)["item_affinity"] == [0.0, 0.6, 0.0, 0.0]


def test_categories_count_recently_and_lastingly_and_an_items_categories_add_up(table: ItemTable) -> None:
    record = liking(facet=1, shoes=[1.0, 0.0, 6.0], winter=[2.0, 0.0, 2.0], books=[0.0, 0.0, -1.0])

    found = features(table, record=record)

    assert found["category_recent"] == [0.75, 0.25, 0.0, 0.0]
    assert found["category_lasting"] == [0.8, 0.6, -0.1, 0.0]


def test_brands_and_price_tiers_count_alike(table: ItemTable) -> None:
    tier = table.facets("book")[2]
    brands = features(table, record=liking(facet=2, acme=[1.0, 0.0, 3.0]))
    tiers = features(table, record=liking(facet=3, **{str(tier): [1.0, 0.0, 4.0]}))

    assert brands["brand_recent"] == [0.5, 0.5, 0.0, 0.0]
    assert brands["brand_lasting"] == [0.75, 0.75, 0.0, 0.0]
    assert tiers["price_tier_lasting"] == [0.0, 0.0, 0.8, 0.0]


def test_popularity_is_logarithmic_against_the_most_popular_candidate(table: ItemTable) -> None:
    count(table, boot={"popularity": 99.0}, shoe={"popularity": 9.0})

    assert features(table)["popularity"] == [1.0, 0.5, 0.0, 0.0]


def test_popularity_decays_to_the_moment_ranked_for(table: ItemTable) -> None:
    count(table, boot={"popularity": 99.0}, shoe={"popularity": 9.0})

    shoe = features(table, now=T0 + 3 * DAY_S)["popularity"][1]

    assert shoe == pytest.approx(np.log1p(4.5) / np.log1p(49.5), abs=1e-5)


def test_trend_is_the_recent_part_of_popularity(table: ItemTable) -> None:
    count(table, boot={"fast": 99.0, "popularity": 99.0}, shoe={"fast": 9.0, "popularity": 99.0})

    assert features(table)["trend"] == [1.0, 0.5, 0.0, 0.0]


def test_rates_are_against_the_mean_and_shrunk_to_the_parents(table: ItemTable) -> None:
    count(
        table,
        boot={"impression": 80.0, "click": 40.0},
        shoe={"impression": 80.0, "click": 8.0},
        book={"impression": 160.0, "click": 8.0},
    )

    found = features(table)

    boot, shoe, book, pen = found["ctr"]
    assert 0.0 < boot < np.log(40 / 80 / (56 / 320))
    assert np.log(8 / 80 / (56 / 320)) < shoe < found["category_ctr"][1]
    assert book < 0.0
    assert pen == 0.0
    assert found["category_ctr"][0] == found["category_ctr"][1] > 0.0 > found["category_ctr"][2]
    assert found["brand_ctr"][3] == found["category_ctr"][3] == 0.0
    assert found["price_tier_ctr"][0] > found["price_tier_ctr"][2]


def test_without_impressions_or_clicks_ctr_says_nothing(table: ItemTable) -> None:
    count(table, boot={"impression": 5.0})

    assert features(table)["ctr"] == [0.0] * 4


def test_age_halves_in_a_week(table: ItemTable) -> None:
    table.put(Item(item_id="boot", updated_at=T0, created_at=T0))
    table.put(Item(item_id="shoe", updated_at=T0, created_at=T0 + 5.0))

    assert features(table)["age"] == [1.0, 1.0, 0.5, 0.5]


def test_seen_items_and_those_of_the_session_are_marked(table: ItemTable) -> None:
    record = UserRecord(seen={"book": 1, "unknown": 2}, recent=[Touch(T0, "book", 1, 0)])

    found = features(table, record=record, session=["pen", "shoe"])

    assert found["seen"] == [0.0, 0.0, 1.0, 0.0]
    assert found["in_session"] == [0.0, 1.0, 0.0, 1.0]


def test_the_category_of_the_sessions_last_item_is_shared_or_not(table: ItemTable) -> None:
    assert features(table, session=["book", "shoe"])["last_category"] == [1.0, 1.0, 0.0, 0.0]
    assert features(table, session=["shoe", "pen"])["last_category"] == [0.0] * 4
    assert features(table)["last_category"] == [0.0] * 4


def test_the_position_is_that_of_the_first_slot(table: ItemTable) -> None:
    assert features(table)["position"] == [position_feature(1)] * 4
    assert [position_feature(p) for p in (1, 3, 7)] == pytest.approx([1.0, 0.5, 1 / 3])


def test_every_feature_is_finite_at_any_moment(table: ItemTable) -> None:
    count(table, boot={"popularity": 5.0, "impression": 9.0, "click": 3.0})
    record = liking(facet=1, shoes=[5.0, 5.0, 5.0])

    for now in (0.0, T0 - DAY_S, T0 + 10 * 365 * DAY_S):
        columns = features(table, record=record, session=["shoe"], now=now)
        assert all(np.isfinite(column).all() for column in columns.values()), now


def test_no_candidates_have_no_rows(table: ItemTable) -> None:
    nothing = Retrieved.unsourced(np.empty(0, np.int32))

    matrix = gather(Scene(table, Rates(table), nothing, Profile.of(table, UserRecord(), T0), np.array([0], np.int32)))

    assert matrix.shape == (0, len(FEATURES))


def test_gathering_changes_neither_table_nor_record(table: ItemTable) -> None:
    count(table, boot={"popularity": 5.0})
    record = liking(facet=1, shoes=[5.0, 5.0, 5.0], new=[1.0, 1.0, 1.0])
    before = (len(table), len(table.categories), table.totals.tobytes(), repr(record))

    features(table, record=record, session=["shoe"])

    assert (len(table), len(table.categories), table.totals.tobytes(), repr(record)) == before


def test_groups_lie_beside_one_another_and_are_all_of_the_matrix() -> None:
    ends = [(columns.start, columns.stop) for columns in COLUMNS.values()]

    assert [start for start, _ in ends] == [0, *(stop for _, stop in ends[:-1])]
    assert ends[-1][1] == len(FEATURES)
    assert {group.name: NAMES[COLUMNS[group.name]] for group in GROUPS} == {
        group.name: tuple(feature.name for feature in group.features) for group in GROUPS
    }


def test_what_the_record_says_is_declared_so_and_what_is_behavioural_goes_without_a_record(table: ItemTable) -> None:
    count(table, boot={"popularity": 5.0})
    behavioural = [f.name for f in FEATURES if f.policy == "behavioural"]
    empty = features(table)

    assert all(f.policy in ("behavioural", "contextual") for f in FEATURES if "record" in f.reads)
    assert all(empty[name] == [0.0] * len(ITEMS) for name in behavioural)


def test_the_session_counts_its_candidates_and_how_long_ago_they_came(table: ItemTable) -> None:
    found = features(table, session=["boot", "book", "boot"])

    assert found["session_recency"] == [1.0, 0.0, 0.5, 0.0]
    assert found["session_count"] == [round(float(np.log(3)), 5), 0.0, round(float(np.log(2)), 5), 0.0]
    assert found["session_category"] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0.0], abs=1e-4)
    assert found["session_brand"] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0.0], abs=1e-4)
    assert found["session_length"] == [round(float(np.log(4)), 5)] * 4


def test_prices_compare_with_the_sessions_and_the_users_geometric_mean(table: ItemTable) -> None:
    record = UserRecord(recent=[Touch(T0, "book", 1, 0)])

    found = features(table, record=record, session=["shoe", "book", "pen"])

    middle = np.sqrt(50.0 * 10.0)
    dear, cheap = np.log(50.0 / middle), np.log(10.0 / middle)
    assert found["price_session"] == pytest.approx([dear, dear, cheap, 0.0], abs=1e-4)
    assert found["price_session_gap"] == pytest.approx([dear, dear, -cheap, 0.0], abs=1e-4)
    assert found["price_user"] == pytest.approx([np.log(5.0), np.log(5.0), 0.0, 0.0], abs=1e-4)
    assert features(table)["price_user_gap"] == features(table)["price_session"] == [0.0] * 4


def test_the_context_is_the_requests_else_the_records(table: ItemTable) -> None:
    known = UserRecord(context={"device": "phone", "hour": 6}, counts={2: 1})
    table.put(Item(item_id="boot", updated_at=T0, created_at=T0, regions=["north", "south"]))

    assert features(table)["guest"] == [1.0] * 4
    assert features(table, record=known)["guest"] == [0.0] * 4
    assert features(table, record=known)["mobile"] == features(table, record=known)["hour_sin"] == [1.0] * 4
    assert features(table, record=known, context={"device": "desktop"})["mobile"] == [0.0] * 4
    assert features(table, context={"referrer": "https://www.google.com/"})["from_search"] == [1.0] * 4
    assert features(table, context={"region": "south"})["local"] == [1.0, 0.0, 0.0, 0.0]
    assert features(table, context={"region": "west", "hour": "noon", "device": None})["local"] == [0.0] * 4


def test_crosses_are_the_products_of_their_features(table: ItemTable) -> None:
    count(table, boot={"popularity": 99.0}, shoe={"popularity": 9.0})

    found = features(table, context={"device": "phone", "hour": 3})

    for left, right in CROSSES:
        product = np.array(found[left]) * np.array(found[right])
        assert found[f"{left}_x_{right}"] == pytest.approx(product, abs=1e-4)
    assert found["mobile_x_popularity"] == [1.0, 0.5, 0.0, 0.0]
    assert {f.kind for f in FEATURES[COLUMNS["cross"]]} == {"product"}


def test_popularity_by_type_is_a_logarithmic_share_of_the_candidates(table: ItemTable) -> None:
    count(table, boot={"click": 99.0, "purchase": 3.0}, shoe={"click": 9.0})

    found = features(table)

    assert found["clicks"] == [1.0, 0.5, 0.0, 0.0]
    assert found["purchases"] == [1.0, 0.0, 0.0, 0.0]
    assert found["carts"] == [0.0] * 4
