"""Preferences: what a user, or a visitor, wants of the recommender, as told by a client and as it stands on the log.

They travel among the user's events, so that what is learned before and after stands in one order, with an event type
that no client may send as an event.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, Field

from schemas.event import user_key
from schemas.fields import Edge, Id, Label, guarded

MAX_MUTED_ITEMS, MAX_MUTED_LABELS, MAX_BOOSTED = 256, 64, 32
LEAST_FACTOR, MOST_FACTOR = 0.1, 10.0

Facet = Literal["category", "brand"]
Labels = Annotated[list[Label], Field(max_length=MAX_MUTED_LABELS)]


class FacetBoostIn(Edge):
    """More, or with a factor below 1 less, of a category or a brand."""

    facet: Facet
    value: Label
    factor: Annotated[float, Field(ge=LEAST_FACTOR, le=MOST_FACTOR, description="What it multiplies the odds by")]


class PreferencesIn(Edge):
    """All of a user's preferences: what is left out is not wanted any more.

    `personalization` and `consent` are null while the user has said nothing, which is taken for yes.
    """

    muted_items: Annotated[list[Id], Field(max_length=MAX_MUTED_ITEMS)] = []
    muted_brands: Labels = []
    muted_categories: Labels = []
    boosts: Annotated[list[FacetBoostIn], Field(max_length=MAX_BOOSTED)] = []
    personalization: bool | None = Field(default=None, description="false: slates are those of a stranger")
    consent: bool | None = Field(default=None, description="false: withdrawn, no record of behaviour is kept")
    reset: bool = Field(default=False, description="Forget what was learned, now; the other preferences stand")


class PreferencesOut(BaseModel):
    """The preferences that the record reflects; `position` is that of the last message in it.

    `updated_at` is null while nothing was said. What the user did before `forgotten_before` is not in the record.
    """

    user_id: str | None = None
    visitor_id: str | None = None
    muted_items: list[str]
    muted_brands: list[str]
    muted_categories: list[str]
    boosts: list[FacetBoostIn]
    personalization: bool | None
    consent: bool | None
    updated_at: float | None
    forgotten_before: float | None
    position: str | None


class PreferencesKeptOut(BaseModel):
    """Preferences that are kept and that the record does not reflect yet."""

    updated_at: float
    reflected: bool = False


class FacetBoost(msgspec.Struct, array_like=True, frozen=True):
    """A category or a brand, and what multiplies the odds of its items."""

    facet: str
    value: str
    factor: float


class Preferences(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="event_type", tag="preferences"):
    """What a user, or a visitor, wants from `timestamp` on, on the log; in the partition of who says it."""

    event_id: str
    timestamp: float
    received_at: float
    user_id: str | None = None
    visitor_id: str | None = None
    schema_version: int = 1
    muted_items: list[str] = []
    muted_brands: list[str] = []
    muted_categories: list[str] = []
    boosts: list[FacetBoost] = []
    personalization: bool | None = None
    consent: bool | None = None
    reset: bool = False

    @property
    def user_key(self) -> str:
        """The key of the record it belongs to."""
        return user_key(self.user_id, self.visitor_id)


PREFERENCES = "preferences"
"""Event type of the message."""

encode_preferences = msgspec.json.Encoder().encode
decode_preferences = guarded(msgspec.json.Decoder(Preferences).decode)


def accept_preferences(
    given: PreferencesIn, *, user_id: str | None, visitor_id: str | None, event_id: str, now: float
) -> Preferences:
    """Return the log form of what a client says at `now` (epoch seconds).

    >>> accept_preferences(PreferencesIn(reset=True), user_id="7", visitor_id=None, event_id="e", now=5.0).user_key
    'u7'
    """
    return Preferences(
        event_id=event_id,
        timestamp=now,
        received_at=now,
        user_id=user_id,
        visitor_id=visitor_id,
        muted_items=_distinct(given.muted_items),
        muted_brands=_distinct(given.muted_brands),
        muted_categories=_distinct(given.muted_categories),
        boosts=[FacetBoost(boost.facet, boost.value, boost.factor) for boost in given.boosts],
        personalization=given.personalization,
        consent=given.consent,
        reset=given.reset,
    )


def _distinct(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))
