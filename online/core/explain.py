"""Reasons: the one thing that spoke most for an item, as a code, a text, and the item it follows from."""

from __future__ import annotations

import numpy as np

from schemas.slate import Slate

from .features import INDEX, NAMES
from .item_table import ItemTable
from .ranker import Ranker

_REASONS = {
    "session_knn_score": ("seen_together", "Often seen together with {item}"),
    "session_knn_rank": ("seen_together", "Often seen together with {item}"),
    "audience_score": ("popular_with_yours", "Popular with people like you"),
    "session_blend_score": ("seen_together", "Often seen together with {item}"),
    "session_blend_rank": ("seen_together", "Often seen together with {item}"),
    "rules_rank": ("seen_together", "Often seen together with {item}"),
    "session_odds": ("seen_together", "Often seen together with {item}"),
    "vectors_score": ("similar", "Similar to {item}"),
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
_FOLLOWS = frozenset(name for name, (_, text) in _REASONS.items() if "{item}" in text)
_COLUMNS = [INDEX[name] for name in _REASONS]
_ODDS = list(_REASONS).index("session_odds")
_TOGETHER = [INDEX[name] for name in ("session_knn_rank", "rules_rank")]  # of what sessions have had together
TELLING = 0.05  # a feature below says nothing true: everything is a little new, or a little popular

Reason = dict[str, str | None]


def reasons_of(slate: Slate, table: ItemTable, ranker: Ranker) -> list[Reason]:
    """Return the reason of each slot: the feature that adds most to its score above the mean of the candidates.

    What a feature adds to every candidate alike explains none of them, so contributions are compared to the mean.
    """
    if not slate.slots:
        return []
    every = np.frombuffer(slate.features, np.float32).reshape(-1, len(NAMES))
    features = every[:, _COLUMNS]
    chosen = features[slate.slots]  # (slots, reasons)
    lift = np.where(
        chosen >= TELLING, (chosen - features.mean(axis=0)) * ranker.weights_on(slate.surface)[_COLUMNS], -np.inf
    )
    lift[~every[slate.slots][:, _TOGETHER].any(axis=1), _ODDS] = -np.inf
    if not slate.session_items:
        lift[:, [i for i, name in enumerate(_REASONS) if name in _FOLLOWS]] = -np.inf
    names = list(_REASONS)
    return [
        _reason(names[best] if row[best] > -np.inf else None, slate, slate.candidates[candidate], table)
        for candidate, row, best in zip(slate.slots, lift, lift.argmax(axis=1).tolist(), strict=True)
    ]


def _reason(name: str | None, slate: Slate, item_id: str, table: ItemTable) -> Reason:
    code, text = _REASONS[name] if name is not None else _NO_REASON
    follows = slate.session_items[-1] if name in _FOLLOWS else None
    categories, brand, _ = table.facets(item_id)
    words = {"item": follows, "category": categories[0] if categories else "it", "brand": brand or "it"}
    return {"code": code, "text": text.format(**words), "item_id": follows}
