"""What expressions may name: fields of items, of who asks, and of the request."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import NamedTuple

from .syntax import MAX_NAME, OPEN, Kind

ITEM = "item."


class FieldType(NamedTuple):
    """Its kind, what it is, and whether it moves by itself, so that no mask of it can be kept."""

    kind: Kind
    doc: str
    moves: bool = False


FIELDS: dict[str, FieldType] = {
    "item.item_id": FieldType("string", "The item's id"),
    "item.group_id": FieldType("string", "What variants of one product share"),
    "item.owner_id": FieldType("string", "Whose item it is"),
    "item.brand": FieldType("string", "Its brand"),
    "item.price": FieldType("number", "Its price"),
    "item.categories": FieldType("strings", "All of its categories"),
    "item.tags": FieldType("strings", "Its tags"),
    "item.regions": FieldType("strings", "The regions it is offered in"),
    "item.available": FieldType("bool", "What its document says; without it, no rule shows the item"),
    "item.attributes.*": FieldType("any", 'What its document adds; odd names as item.attributes["eu size"]'),
    "item.age_days": FieldType("number", "Days since it was created, or first seen", moves=True),
    "item.popularity": FieldType("number", "The logarithmic popularity that ranking reads, 0 for none", moves=True),
    "user.user_id": FieldType("string", "The user's id; not there for visitors"),
    "user.labels": FieldType("strings", "Labels of the user document"),
    "user.liked_brands": FieldType("strings", "Brands the user has acted on, on balance positively"),
    "user.liked_categories": FieldType("strings", "Categories the user has acted on, on balance positively"),
    "user.acts": FieldType("number", "Events of the user on items, impressions not counted"),
    "context.*": FieldType("any", "The request's context, over that of the user's events, over the user document's"),
    "surface": FieldType("string", "The surface asked for"),
    "request.n": FieldType("number", "Slots asked for"),
    "request.item_id": FieldType("string", "The item the user looks at, on item pages"),
    "request.hour": FieldType("number", "Hour of the day in UTC, 0 to 23"),
}  # fmt: skip
"""Name -> what it is; `*` stands for any name."""

_PLAIN = re.compile(rf"[A-Za-z0-9_. -]{{1,{MAX_NAME}}}")


def find(name: str) -> FieldType | None:
    """Return the field of a name.

    >>> find("item.attributes.color").kind, find("item.colour")
    ('any', None)
    """
    group = next((group for group in OPEN if name.startswith(f"{group}.")), None)
    return FIELDS.get(name if group is None else f"{group}.*")


def said(name: str) -> str:
    """Return a name as an error may repeat it."""
    return name if _PLAIN.fullmatch(name) else "this field"


def unknown(name: str) -> str:
    """Say that there is no such field, and which is meant.

    >>> unknown("item.brnad")
    'there is no item.brnad: did you mean item.brand?'
    """
    group, _, key = name.partition(".")
    own = {n.removeprefix(f"{group}."): n for n in FIELDS if n.startswith(f"{group}.")}
    names = own or {n.rpartition(".")[2]: n for n in FIELDS}
    near = get_close_matches((key if own else name)[:MAX_NAME], [n for n in names if n != "*"], n=1, cutoff=0.6)
    if near:
        return f"there is no {said(name)}: did you mean {names[near[0]]}?"
    has = f"{group} has {', '.join(own)}" if own else "fields begin with item., user., context. or request."
    return f"there is no {said(name)}: {has}"
