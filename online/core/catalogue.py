"""The catalogue view: item documents by id, the last one in log order."""

from __future__ import annotations

import msgspec

from online.ports import Batch
from schemas.item import decode_item

from .checkpoint import Folded, Outgoing
from .update import dead_letter

CATALOGUE_VIEW = "catalogue"
ITEMS = "items"  # topic, one partition
ITEM_DOCUMENT = "item_document"  # family


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
