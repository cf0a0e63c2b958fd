"""What the folds can take. Not every producer goes through the API, and one message must not stop or poison a view."""

from __future__ import annotations

from math import isfinite
from typing import get_args

from schemas.event import MAX_SKEW_S, Event
from schemas.fields import EPOCH_MAX_S
from schemas.preferences import (
    LEAST_FACTOR,
    MAX_BOOSTED,
    MAX_MUTED_ITEMS,
    MAX_MUTED_LABELS,
    MOST_FACTOR,
    Facet,
    FacetBoost,
    Preferences,
)
from schemas.user import User

from .controls import NO_CONTROLS
from .decay import HALF_LIVES_S
from .record import DEDUP_BYTES, FACETS, TYPE_CODES, UserRecord
from .shown import SHOWINGS

MAX_ID, MAX_LABEL, MAX_LABELS, MAX_ITEMS = 256, 128, 64, 1000  # as at the HTTP edge
MAX_TEXT, MAX_CONTEXT = 1024, 32
_BOOSTED = frozenset(get_args(Facet))
INT64 = range(-(2**63), 2**63)  # records are msgpack, which knows no larger ones


class Unfoldable(Exception):
    """A message that decodes but cannot be folded; the message says why."""


def check_event(event: Event) -> None:
    """Raise `Unfoldable` for an event that no record could hold, or that would spoil what the record holds.

    >>> check_event(Event(event_id="e", event_type="view", timestamp=9e12, received_at=1.0, user_id="1"))
    Traceback (most recent call last):
    online.core.foldable.Unfoldable: a time lies outside the years 1970 to 2100: 9000000000000.0, received at 1.0
    """
    if event.event_type not in TYPE_CODES:
        raise Unfoldable(f"unknown event_type {event.event_type[:MAX_ID]!r}")
    _check_years(event.timestamp, event.received_at)
    if not 0 < len(event.event_id) <= MAX_ID:  # all empty ones would count as one event
        raise Unfoldable(_wrong_length("event_id"))
    if len(event.user_id or "") > MAX_ID or len(event.visitor_id or "") > MAX_ID:
        raise Unfoldable(_wrong_length("user_id or visitor_id"))
    if event.recommendation_id is not None and len(event.recommendation_id) > MAX_ID:
        raise Unfoldable(_wrong_length("recommendation_id"))
    if len(event.items) > MAX_ITEMS:
        raise Unfoldable(f"more than {MAX_ITEMS} items")
    for item in event.items:
        if not 0 < len(item.item_id) <= MAX_ID:
            raise Unfoldable(_wrong_length("item_id"))
        for label in item.categories:
            if len(label) > MAX_LABEL:
                raise Unfoldable(f"a category is longer than {MAX_LABEL} characters")
        if len(item.brand or "") > MAX_LABEL or len(item.price_tier or "") > MAX_LABEL:
            raise Unfoldable(f"brand or price_tier is longer than {MAX_LABEL} characters")
    if event.context:
        _check_context(event.context)


def clamp(event: Event) -> None:
    """Take a time ahead of `received_at` for that, in place, as the API does: not every producer goes through it.

    One event of the future would let every record it meets forget its past, and close all slates.

    >>> event = Event(event_id="e", event_type="view", timestamp=99.0, received_at=9.0, user_id="1")
    >>> clamp(event)
    >>> event.timestamp, event.clamped_s
    (9.0, 90.0)
    """
    ahead = event.timestamp - event.received_at
    if ahead > MAX_SKEW_S:
        event.timestamp, event.clamped_s = event.received_at, ahead


def check_times(timestamp: float, received_at: float) -> None:
    """Raise `Unfoldable` for times of an identity message that no one can mean, or that are ahead."""
    _check_years(timestamp, received_at)
    if timestamp - received_at > MAX_SKEW_S:
        raise Unfoldable(f"it happened {timestamp - received_at:.0f} s after it was received")


def _check_years(timestamp: float, received_at: float) -> None:
    if not (0.0 <= timestamp <= EPOCH_MAX_S and 0.0 <= received_at <= EPOCH_MAX_S):
        raise Unfoldable(f"a time lies outside the years 1970 to 2100: {timestamp}, received at {received_at}")


def check_preferences(said: Preferences) -> None:
    """Raise `Unfoldable` for preferences that no record could hold, or that no later ones could replace.

    >>> check_preferences(Preferences(event_id="e", timestamp=1.0, received_at=1.0, muted_brands=[""], user_id="7"))
    Traceback (most recent call last):
    online.core.foldable.Unfoldable: preferences: too many, or one that cannot be
    """
    check_times(said.timestamp, said.received_at)
    if len(said.user_id or "") > MAX_ID or len(said.visitor_id or "") > MAX_ID:
        raise Unfoldable(_wrong_length("user_id or visitor_id"))
    if not _are_preferences(said.muted_items, said.muted_brands, said.muted_categories, said.boosts):
        raise Unfoldable("preferences: too many, or one that cannot be")


def _are_preferences(items: list[str], brands: list[str], categories: list[str], boosts: list[FacetBoost]) -> bool:
    return (
        len(items) <= MAX_MUTED_ITEMS
        and max(len(brands), len(categories)) <= MAX_MUTED_LABELS
        and len(boosts) <= MAX_BOOSTED
        and all(0 < len(item) <= MAX_ID for item in items)
        and all(0 < len(label) <= MAX_LABEL for label in (*brands, *categories))
        and all(0 < len(boost.value) <= MAX_LABEL for boost in boosts)
        and all(boost.facet in _BOOSTED and LEAST_FACTOR <= boost.factor <= MOST_FACTOR for boost in boosts)
    )


def check_user(user: User) -> None:
    """Raise `Unfoldable` for a user document that no record could hold, or that no later one could replace."""
    if not 0 < len(user.user_id) <= MAX_ID:
        raise Unfoldable(_wrong_length("user_id"))
    if not 0.0 <= user.updated_at <= EPOCH_MAX_S:
        raise Unfoldable(f"updated_at lies outside the years 1970 to 2100: {user.updated_at}")
    if len(user.labels) > MAX_LABELS:
        raise Unfoldable(f"more than {MAX_LABELS} labels")
    if any(len(label) > MAX_LABEL for label in user.labels):
        raise Unfoldable(f"labels: one is longer than {MAX_LABEL} characters")
    _check_context(user.context)


def check_record(record: UserRecord) -> None:
    """Raise `Unfoldable` for a visitor's record that is not what a fold leaves, and that no record could take over.

    >>> check_record(UserRecord(affinities=[{}]))
    Traceback (most recent call last):
    online.core.foldable.Unfoldable: no record that a fold has left
    """
    weights = [weight for table in record.affinities for weight in table.values()]
    controls = record.controls or NO_CONTROLS
    if not (
        len(record.affinities) == len(FACETS)
        and _are_preferences(controls.muted_items, controls.muted_brands, controls.muted_categories, controls.boosts)
        and all(0.0 <= time <= EPOCH_MAX_S for time in (controls.time, controls.forgotten))
        and len(record.dedup) % DEDUP_BYTES == 0
        and all(len(weight) == len(HALF_LIVES_S) for weight in weights)
        and all(isfinite(part) for weight in weights for part in weight)
        and all(0.0 <= t <= EPOCH_MAX_S for t in (record.landmark, record.last_time, record.context_time))
        and all(0.0 <= touch.time <= EPOCH_MAX_S and isfinite(touch.weight) for touch in record.recent)
        and all(0 < len(times) <= SHOWINGS for times in record.shown.values())
        and all(0 <= time <= EPOCH_MAX_S for times in record.shown.values() for time in times)
        and all(0.0 <= session.start <= session.end <= EPOCH_MAX_S for session in record.sessions)
        and {*record.counts, *(touch.type_code for touch in record.recent)} <= {*TYPE_CODES.values()}
    ):
        raise Unfoldable("no record that a fold has left")


def _check_context(context: dict[str, str | bool | int | float | None]) -> None:
    is_short = len(context) <= MAX_CONTEXT
    for name, value in context.items():  # of every event: a loop costs half of what generators do
        if isinstance(value, str):
            is_short = is_short and len(value) <= MAX_TEXT
        elif isinstance(value, int) and value not in INT64:
            raise Unfoldable("context: an integer takes more than 64 bits")
        is_short = is_short and len(name) <= MAX_LABEL
    if not is_short:
        raise Unfoldable(f"context: more than {MAX_CONTEXT} fields, or one longer than {MAX_TEXT} characters")


def _wrong_length(field: str) -> str:
    return f"{field} is empty or longer than {MAX_ID} characters"
