"""Ranking features, declared once: name, prior weight, and how each is gathered for a request's candidates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .decay import DAY_S, Decay, Weights
from .item_table import ItemTable
from .record import UserRecord


class Feature(NamedTuple):
    """A feature's name and the weight it has in the ranker before anything is learned."""

    name: str
    prior: float


FEATURES = (
    Feature("knn", 1.2),  # session-kNN score, as a share of the best candidate's
    Feature("knn_rank", 0.6),  # 1 / rank there
    Feature("ann", 0.8),  # cosine of the item's vector with the session's and profile's
    Feature("item_affinity", 0.3),  # the user's own, as a share of all
    Feature("category_recent", 0.8),  # the share of the item's category in recent affinity
    Feature("category_lasting", 0.8),
    Feature("brand_recent", 0.4),
    Feature("brand_lasting", 0.4),
    Feature("price_tier_lasting", 0.3),
    Feature("popularity", 0.8),  # logarithmic share of the most popular item's
    Feature("trend", 0.3),  # the recent part of its popularity
    Feature("ctr", 0.5),  # clicks per impression, shrunk to the mean, against the mean
    Feature("age", 0.1),  # 1 when new, 1/2 after a week
    Feature("seen", -0.4),
    Feature("in_session", -0.6),
    Feature("last_category", 0.5),  # shares the category of the session's last item
    Feature("position", 1.0),  # 1 / log2(1 + slot); fixed to the first slot when serving
)
NAMES = tuple(f.name for f in FEATURES)
INDEX = {name: i for i, name in enumerate(NAMES)}
PRIOR = np.array([f.prior for f in FEATURES])
PRIOR_INTERCEPT = -4.0

REFERENCE_POSITION = 1
CTR_PRIOR_IMPRESSIONS = 20.0
NEW_HALF_LIFE_S = 7 * DAY_S


def position_feature(position: int) -> float:
    """Return the examination proxy of a slot, the discount of DCG (Järvelin & Kekäläinen 2002).

    >>> position_feature(1), position_feature(3)
    (1.0, 0.5)
    """
    return float(1.0 / np.log2(1.0 + position))


class Retrieved(NamedTuple):
    """What retrieval found: candidate rows, and per candidate the scores the features need."""

    rows: NDArray[np.int32]  # (c,)
    knn: NDArray[np.float64]  # (c,) session-kNN scores, 0 where it did not find the item
    ann: NDArray[np.float64]  # (c,) cosines
    sources: NDArray[np.uint8]  # (c,) bit set of retrievers


def shares(table: dict[str, Weights], decay: Decay, now: float, landmark: float) -> dict[str, tuple[float, float]]:
    """Return each key's (recent, lasting) affinity at `now`, as a share of the table's total strength plus one.

    The added one keeps a single click from looking like a settled taste.

    >>> shares({"a": [2.0, 2.0], "b": [1.0, 1.0]}, Decay((60.0, 600.0)), now=0.0, landmark=0.0)["a"]
    (0.5, 0.5)
    """
    fading = decay.fading(now, landmark)
    first, last = fading[0], fading[-1]
    current = [(key, weights[0] * first, weights[-1] * last) for key, weights in table.items()]
    recent = 1.0 + sum([abs(r) for _, r, _ in current])
    lasting = 1.0 + sum([abs(s) for _, _, s in current])
    return {key: (r / recent, s / lasting) for key, r, s in current}


def gather(
    table: ItemTable, found: Retrieved, record: UserRecord, session: NDArray[np.int32], now: float
) -> NDArray[np.float32]:
    """Return the feature matrix (c, len(FEATURES)) of the candidates; the position feature is the reference's."""
    rows, x = found.rows, np.zeros((len(found.rows), len(FEATURES)), np.float32)
    _retrieval_features(x, found)
    _affinity_features(x, table, rows, record, now)
    _item_features(x, table, rows, now)
    _session_features(x, table, rows, record, session)
    x[:, INDEX["position"]] = position_feature(REFERENCE_POSITION)
    return x


def _retrieval_features(x: NDArray[np.float32], found: Retrieved) -> None:
    best = found.knn.max(initial=0.0)
    if best > 0.0:
        x[:, INDEX["knn"]] = found.knn / best
        hit = np.flatnonzero(found.knn > 0.0)
        order = hit[np.argsort(-found.knn[hit], kind="stable")]
        x[order, INDEX["knn_rank"]] = 1.0 / np.arange(1, len(order) + 1)
    x[:, INDEX["ann"]] = found.ann


def _affinity_features(
    x: NDArray[np.float32], table: ItemTable, rows: NDArray[np.int32], record: UserRecord, now: float
) -> None:
    items, categories, brands, tiers = (shares(facet, table.decay, now, record.landmark) for facet in record.affinities)
    if items:
        ids = table.ids.codes
        own = {ids[key]: lasting for key, (_, lasting) in items.items() if key in ids}
        x[:, INDEX["item_affinity"]] = [own.get(row, 0.0) for row in rows.tolist()]
    # The rows' codes are read before the vocabularies, which may grow meanwhile.
    category, brand, tier = table.category[rows], table.brand[rows], table.tier[rows]
    recent, lasting = _by_code(categories, table.categories.codes)
    x[:, INDEX["category_recent"]] = recent[category].sum(axis=1)
    x[:, INDEX["category_lasting"]] = lasting[category].sum(axis=1)
    recent, lasting = _by_code(brands, table.brands.codes)
    x[:, INDEX["brand_recent"]] = recent[brand]
    x[:, INDEX["brand_lasting"]] = lasting[brand]
    _, lasting = _by_code(tiers, table.tiers.codes)
    x[:, INDEX["price_tier_lasting"]] = lasting[tier]


def _by_code(
    table: dict[str, tuple[float, float]], codes: dict[str, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (recent, lasting) by code; the extra last element is 0, and is what code −1 reads."""
    recent, lasting = np.zeros(len(codes) + 1, np.float32), np.zeros(len(codes) + 1, np.float32)
    for key, (r, s) in table.items():
        code = codes.get(key)
        if code is not None:
            recent[code], lasting[code] = r, s
    return recent, lasting


def _item_features(x: NDArray[np.float32], table: ItemTable, rows: NDArray[np.int32], now: float) -> None:
    totals = table.totals[rows]
    popularity = np.log1p(totals[:, : table.halves] * table.fading(now))
    middle = popularity[:, table.halves // 2]
    x[:, INDEX["popularity"]] = middle / max(float(middle.max(initial=0.0)), 1e-9)
    x[:, INDEX["trend"]] = popularity[:, 0] / np.maximum(middle, 1e-9)
    impressions, clicks = totals[:, table.halves], totals[:, table.halves + 1]
    seen, clicked = float(impressions.sum()), float(clicks.sum())
    if seen > 0.0 and clicked > 0.0:
        mean = min(clicked / seen, 1.0)
        rate = (clicks + CTR_PRIOR_IMPRESSIONS * mean) / (impressions + CTR_PRIOR_IMPRESSIONS)
        x[:, INDEX["ctr"]] = np.log(rate / mean)
    age = np.maximum(now - table.created[rows], 0.0)
    x[:, INDEX["age"]] = np.exp2(-age / NEW_HALF_LIFE_S)


def _session_features(
    x: NDArray[np.float32],
    table: ItemTable,
    rows: NDArray[np.int32],
    record: UserRecord,
    session: NDArray[np.int32],
) -> None:
    ids = table.ids.codes
    seen = np.array([ids[item] for item in record.seen if item in ids], np.int32)
    x[:, INDEX["seen"]] = np.isin(rows, seen)
    x[:, INDEX["in_session"]] = np.isin(rows, session)
    if len(session):
        last = table.category[session[-1], 0]
        x[:, INDEX["last_category"]] = (table.category[rows, 0] == last) & (last >= 0)
