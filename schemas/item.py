"""Catalogue items."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from pydantic import Field

from schemas.fields import SCHEMA_VERSION, Document, Edge, EpochSeconds, Id, Label, guarded


class ItemIn(Edge):
    """One catalogue item as a client sends it; `item_id` may come from the path instead."""

    item_id: Id | None = None
    categories: Annotated[list[Label], Field(max_length=16)] = []
    tags: Annotated[list[Label], Field(max_length=64)] = []
    brand: Label | None = None
    price: Annotated[float, Field(ge=0, le=1e12)] | None = None
    available: bool = True
    available_from: EpochSeconds | None = None
    available_to: EpochSeconds | None = None
    owner_id: Id | None = None
    group_id: Id | None = Field(default=None, description="Variants of one product share it")
    regions: Annotated[list[Label], Field(max_length=256)] = []
    embedding: Annotated[list[float], Field(max_length=4096)] | None = None
    attributes: Document = {}
    created_at: EpochSeconds | None = None
    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION


class Item(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One catalogue item on the log and in the catalogue view. `deleted` is the tombstone of a DELETE."""

    item_id: str
    updated_at: float
    created_at: float
    categories: list[str] = []
    tags: list[str] = []
    brand: str | None = None
    price: float | None = None
    available: bool = True
    available_from: float | None = None
    available_to: float | None = None
    owner_id: str | None = None
    group_id: str | None = None
    regions: list[str] = []
    embedding: list[float] | None = None
    attributes: dict[str, Any] = {}
    deleted: bool = False
    schema_version: int = 1

    def is_eligible(self, now: float) -> bool:
        """Say whether the item may be shown at `now` (epoch seconds)."""
        return (
            self.available
            and not self.deleted
            and (self.available_from is None or self.available_from <= now)
            and (self.available_to is None or now < self.available_to)
        )


def price_tier(price: float | None) -> str | None:
    """Return the price tier: half-octaves of price, so that tiers mean the same in every currency.

    >>> price_tier(10.0), price_tier(14.0), price_tier(15.0), price_tier(0.0), price_tier(None)
    ('p7', 'p8', 'p8', 'p0', None)
    """
    if price is None:
        return None
    return f"p{max(0, round(2 * math.log2(price)))}" if price > 0 else "p0"


_encoder = msgspec.json.Encoder()
encode_item = _encoder.encode
decode_item = guarded(msgspec.json.Decoder(Item).decode)


def accept_item(item: ItemIn, *, item_id: str, now: float, created_at: float | None = None) -> Item:
    """Return the log form of a valid item; `created_at` is the first-seen time when the client gives none.

    >>> accept_item(ItemIn(brand="b"), item_id="a", now=5.0).created_at
    5.0
    """
    fields = item.model_dump(exclude={"item_id", "created_at"})
    return Item(
        item_id=item_id,
        updated_at=now,
        created_at=next(t for t in (item.created_at, created_at, now) if t is not None),
        **fields,
    )
