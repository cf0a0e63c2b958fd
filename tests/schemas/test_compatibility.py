from __future__ import annotations

import copy
import re
from typing import Annotated, Any, Literal

import msgspec
import pytest

from schemas.compatibility import breaking_changes
from schemas.export import struct_schema


def message(array_like: bool = False, **fields: Any) -> dict[str, Any]:
    """Return the schema of a struct `Message` with the given fields: a type, or a type and a default."""
    places = [(name, *(kind if isinstance(kind, tuple) else (kind,))) for name, kind in fields.items()]
    return struct_schema(msgspec.defstruct("Message", places, kw_only=not array_like, array_like=array_like))


@pytest.mark.parametrize("array_like", [False, True])
def test_a_field_with_a_default_may_be_appended(array_like: bool) -> None:
    old = message(array_like, id=str, size=(int, 0))
    new = message(array_like, id=str, size=(int, 0), colour=(str | None, None), parts=(dict[str, int], {}))

    assert breaking_changes(old, new) == []


def test_what_people_read_and_the_order_of_named_fields_break_nothing() -> None:
    old, new = message(id=str, size=(int, 0)), message(size=(int, 0), id=str)
    new["$defs"]["Message"]["description"] = "Another."

    assert breaking_changes(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ({"id": str, "size": int}, {"id": str}, "size: is gone"),
        ({"id": str}, {"id": str, "size": int}, "size: is new and has no default"),
        ({"id": str, "size": (int, 0)}, {"id": str, "size": int}, "size: has no default any more"),
        ({"id": str, "size": int}, {"id": str, "size": (int, 0)}, "size: may be missing now"),
        ({"size": str | int}, {"size": int}, "size: is no string any more"),
        ({"size": float}, {"size": int}, "size: is no number any more"),
        ({"size": int}, {"size": float}, "size: may be number now"),
        ({"size": int}, {"size": int | None}, "size: may be null now"),
        ({"kind": Literal["a", "b"]}, {"kind": Literal["a"]}, "kind: may not be 'b' any more"),
        ({"kind": Literal["a"]}, {"kind": Literal["a", "b"]}, "kind: may be 'b' now"),
        ({"kind": str}, {"kind": Literal["a"]}, "kind: is one of a list now"),
        ({"sizes": list[int]}, {"sizes": list[str]}, r"sizes\[\]: is no integer any more"),
        ({"sizes": dict[str, float]}, {"sizes": dict[str, str]}, r"sizes\{\}: is no number any more"),
        ({"size": str}, {"size": bytes}, "size: contentEncoding was None and is 'base64'"),
    ],
)
@pytest.mark.parametrize("array_like", [False, True])
def test_a_change_that_breaks_is_named(
    old: dict[str, Any], new: dict[str, Any], complaint: str, array_like: bool
) -> None:
    found = breaking_changes(message(array_like, **old), message(array_like, **new))

    assert re.match(complaint, found[0])


def test_a_default_stays_as_messages_leave_it_out_but_arrays_hold_every_place() -> None:
    old, new = ({"size": (int, default)} for default in (0, 1))

    (line,) = breaking_changes(message(**old), message(**new))

    assert line.startswith("size: its default was 0 and is 1")
    assert breaking_changes(message(True, **old), message(True, **new)) == []


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        ({"size": (int, 0), "id": (str, "")}, "id: its place 0 is size now"),
        ({"id": (str, ""), "colour": (int, 0)}, "size: its place 1 is colour now"),
        ({"id": (str, "")}, "size: is gone"),
    ],
)
def test_fields_of_a_struct_that_travels_as_an_array_stay_in_their_places(new: dict[str, Any], complaint: str) -> None:
    found = breaking_changes(message(True, id=(str, ""), size=(int, 0)), message(True, **new))

    assert re.match(complaint, found[0])


def test_changes_are_found_inside_other_structs_and_recursive_ones_end() -> None:
    old = {
        "$ref": "#/$defs/Tree",
        "$defs": {
            "Tree": {
                "type": "object",
                "properties": {
                    "leaf": {"type": "string"},
                    "left": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Tree"}], "default": None},
                },
                "required": ["leaf"],
            }
        },
    }
    new = copy.deepcopy(old)
    assert breaking_changes(old, new) == []
    new["$defs"]["Tree"]["properties"]["leaf"] = {"type": "integer"}  # type: ignore[index]

    assert breaking_changes(old, new)[0].startswith("leaf: is no string any more")


@pytest.mark.parametrize(("before", "after"), [((None, 5), (1, 5)), ((None, 5), (None, 4)), ((None, 5), (None, 6))])
def test_limits_may_neither_tighten_nor_loosen(
    before: tuple[int | None, int | None], after: tuple[int | None, int | None]
) -> None:
    old, new = (message(size=Annotated[int, msgspec.Meta(ge=low, le=high)]) for low, high in (before, after))

    assert len(breaking_changes(old, new)) == 1
