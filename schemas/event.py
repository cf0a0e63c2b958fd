"""Behaviour events: `EventIn` at the HTTP edge (pydantic), `Event` on the log and in the flows (msgspec)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

import msgspec
from pydantic import BeforeValidator, Field, model_validator

from schemas.fields import Context, Document, Edge, EpochSeconds, Finite, Id, Label, guarded
from schemas.robot import declares_robot

EVENT_VERSION = 2
"""1: `consent` is one answer. 2: also `purposes`, consent by purpose."""

PERSONALIZATION = "personalization"
"""The purpose that a consent without purposes is about."""

EventType = Literal[
    "impression", "view", "click", "add_to_cart", "remove_from_cart", "purchase", "like", "dislike",
    "not_interested", "hide", "rating", "bookmark", "share", "play", "complete", "search", "custom",
]  # fmt: skip
EVENT_TYPES: tuple[str, ...] = get_args(EventType)

ALIASES: dict[str, str] = {
    # Google Retail / Discovery Engine
    "detail-page-view": "view", "purchase-complete": "purchase", "add-to-cart": "add_to_cart",
    "media-play": "play", "media-complete": "complete",
    # Gorse
    "star": "like", "read": "view", "collect": "bookmark",
    # Segment's e-commerce specification
    "Product Viewed": "view", "Product Clicked": "click", "Product Added": "add_to_cart",
    "Product Removed": "remove_from_cart", "Order Completed": "purchase", "Products Searched": "search",
    "Product Shared": "share", "Product Added to Wishlist": "bookmark",
    # Google Analytics 4's e-commerce events
    "view_item": "view", "select_item": "click", "view_item_list": "impression", "add_to_wishlist": "bookmark",
}  # fmt: skip

WEIGHTS: dict[str, float] = {
    "impression": 0.0, "view": 0.5, "click": 1.0, "add_to_cart": 3.0, "remove_from_cart": -1.0, "purchase": 5.0,
    "like": 3.0, "dislike": -3.0, "not_interested": -5.0, "hide": -5.0, "rating": 1.0, "bookmark": 2.0,
    "share": 2.0, "play": 1.0, "complete": 2.0, "search": 0.0, "custom": 0.0,
}  # fmt: skip


def canonical_type(value: Any) -> Any:
    """Return the canonical event type of a known alias; other values pass through to validation.

    >>> canonical_type("purchase-complete"), canonical_type("click")
    ('purchase', 'click')
    """
    return ALIASES.get(value, value) if isinstance(value, str) else value


class EventItemIn(Edge):
    """One item of an event; `position` counts from 1."""

    item_id: Id
    position: Annotated[int, Field(ge=1, le=10_000)] | None = None
    quantity: Annotated[float, Field(gt=0, le=1e9)] | None = None
    price: Annotated[float, Field(ge=0, le=1e12)] | None = None


class EventIn(Edge):
    """One behaviour event as a client sends it."""

    event_id: Id | None = Field(default=None, description="Deduplication key; generated when absent")
    event_type: Annotated[EventType, BeforeValidator(canonical_type, json_schema_input_type=EventType)] = Field(
        description="Or a name that other systems use for it, such as detail-page-view or Order Completed"
    )
    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = Field(default=None, description="Else derived by 30 minutes of idle event time")
    item_id: Id | None = None
    items: Annotated[list[EventItemIn], Field(max_length=1000)] = []
    value: Finite | None = None
    timestamp: EpochSeconds | None = Field(default=None, description="When it happened; default: now")
    surface: Label | None = None
    recommendation_id: Id | None = None
    position: Annotated[int, Field(ge=1, le=10_000)] | None = None
    experiment_ids: Annotated[list[Label], Field(max_length=32)] = []
    context: Context = {}
    properties: Document = {}
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    consent: bool | Annotated[dict[Label, bool], Field(max_length=16)] | None = Field(
        default=None, description='To personalization, or by purpose: {"personalization": true, "advertising": false}'
    )
    traceparent: Annotated[str, Field(max_length=64)] | None = None
    schema_version: Annotated[int, Field(ge=1, le=EVENT_VERSION)] = EVENT_VERSION

    @property
    def item_ids(self) -> list[str]:
        """The items it is about: the lone one, or all of `items`."""
        return [self.item_id] if self.item_id is not None else [item.item_id for item in self.items]

    @model_validator(mode="after")
    def _names_a_user_and_an_item(self) -> Self:
        if self.user_id is None and self.visitor_id is None:
            msg = "give user_id or visitor_id"
            raise ValueError(msg)
        if self.item_id is not None and self.items:
            msg = "give item_id or items, not both"
            raise ValueError(msg)
        if self.item_id is None and not self.items and self.event_type not in ("search", "custom"):
            msg = f"a {self.event_type} event needs item_id or items"
            raise ValueError(msg)
        return self


class EventItem(msgspec.Struct, omit_defaults=True, gc=False):
    """One item of an event on the log, with the catalogue facets that ingest stamped."""

    item_id: str
    position: int | None = None
    quantity: float | None = None
    price: float | None = None
    categories: list[str] = []
    brand: str | None = None
    price_tier: str | None = None


class Event(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """One accepted event on the log. Times are epoch seconds; `items` also holds a lone `item_id`."""

    event_id: str
    event_type: str
    timestamp: float
    received_at: float
    user_id: str | None = None
    visitor_id: str | None = None
    session_id: str | None = None
    items: list[EventItem] = []
    value: float | None = None
    surface: str | None = None
    recommendation_id: str | None = None
    experiment_ids: list[str] = []
    context: dict[str, str | bool | int | float | None] = {}
    properties: dict[str, Any] = {}
    currency: str | None = None
    consent: bool | None = None  # to personalization
    traceparent: str | None = None
    clamped_s: float = 0.0  # how far ahead of the server's clock the client's time was
    schema_version: int = 1  # a message without the field is the first version's, whatever today's is
    purposes: dict[str, bool] = {}  # since version 2: consent by purpose
    robot: bool = False  # who sent it says that it acts for nobody
    held_out: bool = False  # of a unit of the holdout: it counts for the own record alone

    @property
    def user_key(self) -> str:
        """The key of the user record this event belongs to."""
        return user_key(self.user_id, self.visitor_id)


def user_key(user_id: str | None, visitor_id: str | None) -> str:
    """Return the record key: the user's when known, else the visitor's; the two never collide.

    >>> user_key("7", "abc"), user_key(None, "7")
    ('u7', 'v7')
    """
    return f"u{user_id}" if user_id is not None else f"v{visitor_id}"


def user_id_of(key: str | None) -> str | None:
    """Return the user id of a record key; None for a visitor's, and for no key.

    >>> user_id_of("u7"), user_id_of("v7"), user_id_of(None)
    ('7', None, None)
    """
    return key[1:] if key is not None and key.startswith("u") else None


MAX_SKEW_S = 5.0


def accept(event: EventIn, *, event_id: str, received_at: float, user_agent: str = "") -> Event:
    """Return the log form of a valid event; a time more than 5 s ahead of `received_at` is clamped to it.

    `user_agent` is that of the request, where there is one.

    >>> accept(EventIn(event_type="view", user_id="1", item_id="a"), event_id="e", received_at=9.0).timestamp
    9.0
    """
    timestamp = received_at if event.timestamp is None else event.timestamp
    ahead = timestamp - received_at
    clamped = ahead if ahead > MAX_SKEW_S else 0.0
    if event.item_id is not None:
        items = [EventItem(event.item_id, position=event.position)]
    else:
        items = [EventItem(i.item_id, i.position, i.quantity, i.price) for i in event.items]
    purposes = event.consent if isinstance(event.consent, dict) else _purposes(event.consent)
    return Event(
        event_id=event.event_id or event_id,
        event_type=event.event_type,
        timestamp=received_at if clamped else timestamp,
        received_at=received_at,
        user_id=event.user_id,
        visitor_id=event.visitor_id,
        session_id=event.session_id,
        items=items,
        value=event.value,
        surface=event.surface,
        recommendation_id=event.recommendation_id,
        experiment_ids=event.experiment_ids,
        context=event.context,
        properties=event.properties,
        currency=event.currency,
        consent=purposes.get(PERSONALIZATION),
        traceparent=event.traceparent,
        clamped_s=clamped,
        schema_version=EVENT_VERSION,
        purposes=purposes,
        robot=declares_robot(event.context, user_agent),
    )


def _purposes(consent: bool | None) -> dict[str, bool]:
    return {} if consent is None else {PERSONALIZATION: consent}


_encoder = msgspec.json.Encoder()
_decode = guarded(msgspec.json.Decoder(Event).decode)
encode_event = _encoder.encode


def decode_event(payload: bytes) -> Event:
    """Return the event of a log payload, one of an older version as the present one.

    Fields of newer versions are ignored here and kept in the payload.

    Raises:
        msgspec.DecodeError, msgspec.ValidationError: not an event; the message names the field.
    """
    event = _decode(payload)
    if not event.user_id and not event.visitor_id:
        msg = "Object missing required field `user_id` or `visitor_id`"
        raise msgspec.ValidationError(msg)
    if event.schema_version < EVENT_VERSION:
        if event.consent is not None:
            event.purposes = {PERSONALIZATION: event.consent}
        event.schema_version = EVENT_VERSION
    return event
