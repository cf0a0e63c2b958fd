"""Reasons: the one thing that spoke most for an item, as a code, a text, and the item it follows from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.slate import Slate

from .features import INDEX
from .item_table import ItemTable
from .kernel import kernel
from .ranker import Ranker
from .slate_features import slate_features

_REASONS = {
    "session_knn_score": ("seen_together", "Often seen together with {item}"),
    "session_knn_rank": ("seen_together", "Often seen together with {item}"),
    "audience_score": ("popular_with_yours", "Popular with people like you"),
    "session_blend_score": ("seen_together", "Often seen together with {item}"),
    "session_blend_rank": ("seen_together", "Often seen together with {item}"),
    "rules_rank": ("seen_together", "Often seen together with {item}"),
    "untaught_neighbour": ("seen_together", "Often seen together with {item}"),
    "session_odds": ("seen_together", "Often seen together with {item}"),
    "vectors_score": ("similar", "Similar to {item}"),
    "untaught_category": ("same_category", "In the same category as {item}"),
    "last_category": ("same_category", "In the same category as {item}"),
    "item_affinity": ("your_item", "You have shown interest in it"),
    "category_recent": ("your_category", "Because you lately look at {category}"),
    "category_lasting": ("your_category", "Because you like {category}"),
    "brand_recent": ("your_brand", "Because you lately look at {brand}"),
    "brand_lasting": ("your_brand", "Because you like {brand}"),
    "price_tier_lasting": ("your_price", "In your price range"),
    "standing": ("popular", "Popular now"),
    "popularity": ("popular", "Popular now"),
    "trend": ("trending", "Trending now"),
    "ctr": ("popular", "Popular now"),
    "age": ("new", "New"),
}
_NO_REASON = ("catalogue", "From the catalogue")
_OF_LISTS = {"trending": _REASONS["trend"], "new": _REASONS["age"]}
_FOLLOWS = frozenset(name for name, (_, text) in _REASONS.items() if "{item}" in text)
_NAMES = list(_REASONS)
_COLUMNS = np.array([INDEX[name] for name in _NAMES])
_ODDS = _NAMES.index("session_odds")
_TOGETHER = np.array([INDEX[name] for name in ("session_knn_rank", "rules_rank")])  # of what sessions have had together
_OPEN_WITHOUT_SESSION = np.array([name not in _FOLLOWS for name in _NAMES])
_ALWAYS_OPEN = np.ones(len(_NAMES), np.bool_)
TELLING = 0.05  # a feature below says nothing true: everything is a little new, or a little popular

Reason = dict[str, str | None]


def reasons_of(slate: Slate, table: ItemTable, ranker: Ranker) -> list[Reason]:
    """Return the reason of each slot: the feature that adds most to its score above the mean of the candidates.

    What a feature adds to every candidate alike explains none of them, so contributions are compared to the mean.
    """
    if not slate.slots:
        return []
    if slate.ranker == "listed":
        return [_told(*_OF_LISTS.get(slate.source_of(slot) or "", _NO_REASON)) for slot in slate.slots]
    every = slate_features(slate).T  # (features, c)
    is_open = _ALWAYS_OPEN if slate.session_items else _OPEN_WITHOUT_SESSION
    weights = ranker.weights_on(slate.surface)[_COLUMNS]
    best = _strongest(every, np.array(slate.slots), _COLUMNS, weights, is_open, _TOGETHER, _ODDS)
    return [
        _reason(_NAMES[reason] if reason >= 0 else None, slate, slate.candidates[candidate], table)
        for candidate, reason in zip(slate.slots, best.tolist(), strict=True)
    ]


@kernel
def _strongest(
    features: NDArray[np.float32],  # (f, c)
    slots: NDArray[np.int64],  # (s,) candidates
    columns: NDArray[np.int64],  # (r,) of the features that can be reasons
    weights: NDArray[np.float64],  # (r,)
    is_open: NDArray[np.bool_],  # (r,)
    together: NDArray[np.int64],  # features without which the odds are no reason
    odds: int,
) -> NDArray[np.int64]:
    """Return per slot which of the reasons adds most to its score, −1 for none."""
    best, most = np.full(len(slots), -1), np.full(len(slots), -np.inf)
    for r in range(len(columns)):
        mean = features[columns[r]].mean()
        for s in range(len(slots)):
            value = features[columns[r], slots[s]]
            if not is_open[r] or value < TELLING or (r == odds and not features[together, slots[s]].any()):
                continue
            lift = (value - mean) * weights[r]
            if lift > most[s]:
                best[s], most[s] = r, lift
    return best


def _told(code: str, text: str) -> Reason:
    return {"code": code, "text": text, "item_id": None}


def _reason(name: str | None, slate: Slate, item_id: str, table: ItemTable) -> Reason:
    code, text = _REASONS[name] if name is not None else _NO_REASON
    follows = slate.session_items[-1] if name in _FOLLOWS else None
    if "{" in text:
        item = table.documents.get(item_id)
        category, brand = (item.categories[:1], item.brand) if item is not None else ([], None)
        text = text.format(item=follows, category=category[0] if category else "it", brand=brand or "it")
    return {"code": code, "text": text, "item_id": follows}
