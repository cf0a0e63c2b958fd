"""Events of another system: which of its fields are ours, and the checks of the HTTP edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import from_json

from schemas.event import Event, EventIn, EventItemIn, accept

from .dead_letter import MOST_BYTES
from .redrive import told

ITSELF = "."  # the path of a value that is the element, or the message, as it is
_FIELDS = tuple(EventIn.model_fields)
_ITEM_FIELDS = tuple(EventItemIn.model_fields)
_OPEN = ("context", "properties")  # documents whose keys are free


class BadMapping(ValueError):
    """A mapping names a field that events do not have, or a path that leads nowhere."""


class NotAccepted(Exception):
    """A message is no event; the message says why."""


class ForeignMessage(NamedTuple):
    """A message of another system: its own number there, when that system took it (epoch seconds), and its bytes."""

    id: str
    received_at: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class EventMapping:
    """How another system's messages become events.

    Args:
        fields: our field -> dotted path in the message; a number in a path counts into a list. `items.<field>` leads
            on from each element of `items`, `context.<name>` and `properties.<name>` fill those documents. A field that
            is not named here is looked for under its own name.
        types: their event type -> ours, before the aliases that every event may use.
        constants: our field -> what it always is.

    Without any of it a message is to be an event as a client sends it.

    Raises:
        BadMapping: a field or path cannot be.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | bool | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.fields, *self.constants):
            _check_field(name)
        for name, path in self.fields.items():
            if path != ITSELF and not all(path.split(".")):
                raise BadMapping(f"{name}: {path!r} is no path such as payload.user.id")

    @property
    def is_empty(self) -> bool:
        """Say whether messages are to be events as they are."""
        return not (self.fields or self.types or self.constants)


def read_foreign(message: ForeignMessage, mapping: EventMapping) -> Event:
    """Return the event of a message; without an `event_id` of its own it gets the message's.

    Raises:
        NotAccepted: it cannot be mapped, or the HTTP edge would refuse it.

    >>> mapping = EventMapping({"user_id": "who.id", "item_id": "sku"}, types={"pageview": "view"})
    >>> payload = b'{"event_type": "pageview", "who": {"id": 7}, "sku": "a", "ip": "::1"}'
    >>> event = read_foreign(ForeignMessage("shop:0:12", 9.0, payload), mapping)
    >>> event.event_id, event.event_type, event.user_id, event.items[0].item_id, event.timestamp
    ('shop:0:12', 'view', '7', 'a', 9.0)
    """
    if len(message.payload) > MOST_BYTES:
        raise NotAccepted(f"it has {len(message.payload)} bytes, an event at most {MOST_BYTES}")
    try:
        if mapping.is_empty:
            given = EventIn.model_validate_json(message.payload)
        else:
            given = EventIn.model_validate(mapped(from_json(message.payload, allow_inf_nan=False), mapping))
    except ValidationError as error:
        raise NotAccepted(told(error)) from None
    except ValueError as error:
        raise NotAccepted(f"Invalid JSON: {error}") from None
    return accept(given, event_id=message.id, received_at=message.received_at)


def mapped(document: Any, mapping: EventMapping) -> dict[str, Any]:
    """Return what a message says of each field; what it does not say, or says as null, is left out.

    >>> mapped({"ev": "view", "basket": [{"sku": "a"}]}, EventMapping({"event_type": "ev", "items": "basket",
    ...     "items.item_id": "sku"}))
    {'event_type': 'view', 'items': [{'item_id': 'a'}]}
    """
    if not isinstance(document, dict):
        raise NotAccepted("it is no JSON object")
    event = _picked(document, _FIELDS, mapping.fields, "")
    if isinstance(event.get("items"), list):
        event["items"] = [_item(element, mapping.fields) for element in event["items"]]
    for name in _OPEN:
        if inner := _named(document, mapping.fields, name):
            own = event.get(name)
            event[name] = {**(own if isinstance(own, dict) else {}), **inner}
    for name, value in mapping.constants.items():
        outer, _, key = name.partition(".")
        if not key:
            event[name] = value
        elif isinstance(event.setdefault(outer, {}), dict):
            event[outer] = {**event[outer], key: value}
    kind = event.get("event_type")
    if isinstance(kind, str):
        event["event_type"] = mapping.types.get(kind, kind)
    return event


def _check_field(name: str) -> None:
    outer, dot, inner = name.partition(".")
    is_known = inner in _ITEM_FIELDS if outer == "items" and dot else bool(inner) if outer in _OPEN and dot else False
    if not is_known and (dot or name not in _FIELDS):
        raise BadMapping(f"events have no field {name!r}: they have {', '.join(_FIELDS)}, and items.item_id …")


def _picked(document: dict[str, Any], names: tuple[str, ...], fields: Mapping[str, str], prefix: str) -> dict[str, Any]:
    found = {}
    for name in names:
        path = fields.get(prefix + name)
        value = document.get(name, document.get(to_camel(name))) if path is None else _at(document, path)
        if value is not None:
            found[name] = value
    return found


def _item(element: Any, fields: Mapping[str, str]) -> Any:
    if isinstance(element, dict):
        return _picked(element, _ITEM_FIELDS, fields, "items.")
    itself = [name for name in _ITEM_FIELDS if fields.get(f"items.{name}") == ITSELF]
    return dict.fromkeys(itself, element) if itself else element


def _named(document: dict[str, Any], fields: Mapping[str, str], outer: str) -> dict[str, Any]:
    """Return the values of the fields `<outer>.<name>` by name."""
    prefix = f"{outer}."
    found = {name[len(prefix) :]: _at(document, path) for name, path in fields.items() if name.startswith(prefix)}
    return {name: value for name, value in found.items() if value is not None}


def _at(document: Any, path: str) -> Any:
    """Return the value at a path, None when it leads nowhere."""
    if path == ITSELF:
        return document
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document
