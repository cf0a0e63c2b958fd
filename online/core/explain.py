"""Reasons: the one thing that spoke most for an item, as a code, a text, and the item it follows from."""

from __future__ import annotations

import numpy as np

from schemas.slate import Slate

from .features import INDEX
from .item_table import ItemTable
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
_COLUMNS = [INDEX[name] for name in _NAMES]
_ODDS = _NAMES.index("session_odds")
_TOGETHER = [INDEX[name] for name in ("session_knn_rank", "rules_rank")]  # of what sessions have had together
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
    features = every[_COLUMNS]  # (reasons, c)
    chosen = features[:, slate.slots].T  # (slots, reasons)
    lift = np.where(
        chosen >= TELLING, (chosen - features.mean(axis=1)) * ranker.weights_on(slate.surface)[_COLUMNS], -np.inf
    )
    lift[~every[_TOGETHER][:, slate.slots].any(axis=0), _ODDS] = -np.inf
    if not slate.session_items:
        lift[:, [i for i, name in enumerate(_NAMES) if name in _FOLLOWS]] = -np.inf
    best = zip(slate.slots, lift.argmax(axis=1).tolist(), lift.max(axis=1).tolist(), strict=True)
    return [
        _reason(_NAMES[reason] if most > -np.inf else None, slate, slate.candidates[candidate], table)
        for candidate, reason, most in best
    ]


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
