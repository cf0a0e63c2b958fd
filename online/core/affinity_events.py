"""The events of a user that affinities come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.event import EVENT_TYPES
from schemas.explanation import AffinityEvent, AffinityOut, Part

from .item_table import ItemTable
from .record import FACETS, Touch, UserRecord

_FACET_OF = {
    "item_affinity": "item",
    "category_recent": "category",
    "category_lasting": "category",
    "brand_recent": "brand",
    "brand_lasting": "brand",
    "price_tier_lasting": "price_tier",
}
"""Features of affinity -> the facet whose affinities they read."""


def affinities_behind(
    table: ItemTable, record: UserRecord, slots: Sequence[tuple[str, Iterable[Part]]], at: float
) -> list[AffinityOut]:
    """Return the affinities that spoke for some slot: with their events, and what is left of older ones.

    Args:
        table: says what the items are.
        record: of the user.
        slots: item and terms of each slot.
        at: the moment to which weights decay, epoch seconds.
    """
    spoke: dict[tuple[str, str], tuple[list[str], list[int]]] = {}
    for position, (item_id, parts) in enumerate(slots, start=1):
        keys = _keys(table, item_id)
        for part in parts:
            facet = _FACET_OF.get(part.name)
            for key in keys[facet] if facet is not None else ():
                features, positions = spoke.setdefault((facet or "", key), ([], []))
                features += [part.name] if part.name not in features else []
                positions += [position] if position not in positions else []
    found = [_affinity(table, record, *of, *what, at) for of, what in spoke.items()]
    return [one for one in found if one.events or one.earlier_recent or one.earlier_lasting]


def _keys(table: ItemTable, item_id: str) -> dict[str, list[str]]:
    """Return the keys of an item by facet, as the ranking reads them."""
    row = table.ids.codes.get(item_id)
    if row is None:
        return {facet: [] for facet in FACETS}
    categories, brand, tier = table.category[row].tolist(), int(table.brand[row]), int(table.tier[row])
    return {
        "item": [item_id],
        "category": [table.categories.names[code] for code in categories if code >= 0],
        "brand": [table.brands.names[brand]] if brand >= 0 else [],
        "price_tier": [table.tiers.names[tier]] if tier >= 0 else [],
    }


def _affinity(
    table: ItemTable, record: UserRecord, facet: str, key: str, features: list[str], positions: list[int], at: float
) -> AffinityOut:
    decay = table.decay
    earlier = record.affinities[FACETS.index(facet)].get(key, [0.0] * table.halves)
    left = decay.now(earlier, at, record.landmark)
    events = []
    for touch in record.recent:
        if touch.weight and key in _said(touch, facet):  # of the others the tables have the weight
            weights = [touch.weight * w for w in decay.now(decay.at(touch.time, record.landmark), at, record.landmark)]
            events.append(
                AffinityEvent(
                    item_id=touch.item_id,
                    event_type=EVENT_TYPES[touch.type_code],
                    timestamp=touch.time,
                    recent=weights[0],
                    lasting=weights[-1],
                )
            )
    return AffinityOut(
        facet=facet,
        key=key,
        features=features,
        positions=positions,
        events=events,
        earlier_recent=left[0],
        earlier_lasting=left[-1],
    )


def _said(touch: Touch, facet: str) -> Sequence[str]:
    of_facet: dict[str, Sequence[str]] = {
        "item": (touch.item_id,),
        "category": touch.categories,
        "brand": (touch.brand,),
        "price_tier": (touch.price_tier,),
    }
    return of_facet[facet]
