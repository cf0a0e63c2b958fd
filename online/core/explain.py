"""Reasons: the one thing that spoke most for an item, as a code, a text, and the item it follows from."""

from __future__ import annotations

import numpy as np

from schemas.slate import Slate

from .features import INDEX, NAMES
from .item_table import ItemTable
from .ranker import Ranker

_REASONS = {
    "knn": ("seen_together", "Often seen together with {item}"),
    "knn_rank": ("seen_together", "Often seen together with {item}"),
    "ann": ("similar", "Similar to {item}"),
    "last_category": ("same_category", "In the same category as {item}"),
    "item_affinity": ("your_item", "You have shown interest in it"),
    "category_recent": ("your_category", "Because you lately look at {category}"),
    "category_lasting": ("your_category", "Because you like {category}"),
    "brand_recent": ("your_brand", "Because you lately look at {brand}"),
    "brand_lasting": ("your_brand", "Because you like {brand}"),
    "price_tier_lasting": ("your_price", "In your price range"),
    "popularity": ("popular", "Popular now"),
    "trend": ("trending", "Trending now"),
    "ctr": ("popular", "Popular now"),
    "age": ("new", "New"),
}
_FOLLOWS = frozenset({"knn", "knn_rank", "ann", "last_category"})


def reason_of(slate: Slate, candidate: int, table: ItemTable, ranker: Ranker) -> dict[str, str | None]:
    """Return the reason of one candidate: the feature that adds most to its score above its slate's mean.

    What a feature adds to every candidate alike explains none of them, so contributions are compared to the mean.
    """
    features = np.frombuffer(slate.features, np.float32).reshape(-1, len(NAMES))
    lift = (features[candidate] - features.mean(axis=0)) * ranker.weights
    best = max(_REASONS, key=lambda name: lift[INDEX[name]] if _tells(name, slate) else -np.inf)
    code, text = _REASONS[best]
    item_id = slate.candidates[candidate]
    categories, brand, _ = table.facets(item_id)
    follows = slate.session_items[-1] if best in _FOLLOWS else None
    return {
        "code": code,
        "text": text.format(
            item=follows,
            category=categories[0] if categories else "its category",
            brand=brand or "its brand",
        ),
        "item_id": follows,
    }


def _tells(name: str, slate: Slate) -> bool:
    return bool(slate.session_items) or name not in _FOLLOWS
