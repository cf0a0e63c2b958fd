"""The catalogue view: item documents by id, the last one in log order."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from online.ports import Batch
from schemas.event import Event
from schemas.item import decode_item, price_tier

from .checkpoint import Folded, Outgoing
from .dead_letter import dead_letter
from .holdout import is_held_out

CATALOGUE_VIEW = "catalogue"
ITEMS = "items"  # topic, one partition
ITEM_DOCUMENT = "item_document"  # family

Facets = tuple[list[str], str | None, str | None]
"""Categories, brand and price tier of an item, as ingest stamps them into events."""
FacetsOf = Callable[[str], Facets]
"""item id -> its facets."""


def facets(document: bytes | None) -> Facets:
    """Return the facets of an item by its document in the view.

    >>> facets(b'{"item_id": "a", "updated_at": 0, "created_at": 0, "categories": ["c"], "brand": "b"}')
    (['c'], 'b', None)
    """
    if document is None:
        return [], None, None
    item = decode_item(document)
    return item.categories, item.brand, price_tier(item.price)


def stamp(event: Event, facets_of: FacetsOf, holdout: float) -> None:
    """Put into an event what the catalogue now says of its items, and whether its unit is held out.

    The step sees nothing else of them. `holdout` is the share of units that are held out.
    """
    event.held_out = is_held_out(event.user_key, holdout)
    for item in event.items:
        item.categories, item.brand, item.price_tier = facets_of(item.item_id)


class CatalogueFold:
    """Folds the items topic. A tombstone stays as a document: it keeps the item ineligible."""

    topics = (ITEMS,)

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch of item documents."""
        documents: dict[str, bytes | None] = {}
        outbox: list[Outgoing] = []
        for message in batch.messages:
            try:
                documents[decode_item(message.payload).item_id] = message.payload
            except msgspec.MsgspecError as error:
                outbox.append(dead_letter(batch, message, str(error)))
        return Folded({ITEM_DOCUMENT: documents}, outbox)
