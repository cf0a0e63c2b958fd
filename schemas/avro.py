"""Avro definitions of the documents on the log, as Pulsar's schema registry compares them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

_PRIMITIVES: dict[type[inspect.Type], Any] = {
    inspect.BoolType: "boolean",
    inspect.BytesType: "string",  # base64 in JSON
    inspect.FloatType: "double",
    inspect.IntType: "long",
    inspect.LiteralType: "string",  # an Avro enum could not take a value more
    inspect.NoneType: "null",
    inspect.StrType: "string",
    # Avro has no type for anything: lists and objects inside are in the message, not in the definition
    inspect.AnyType: ["null", "boolean", "long", "double", "string"],
}


def avro_record(document: type[msgspec.Struct]) -> Any:
    """Return the Avro record of a document; fields that may be absent carry their default.

    >>> class Point(msgspec.Struct):
    ...     x: float
    ...     label: str | None = None
    >>> avro_record(Point)["fields"]
    [{'name': 'x', 'type': 'double'}, {'name': 'label', 'type': ['null', 'string'], 'default': None}]

    Raises:
        TypeError: a field is of a kind that Avro cannot say.
    """
    return _record(inspect.type_info(document), set())


def _record(kind: Any, known: set[str]) -> Any:
    name = kind.cls.__name__
    if name in known:
        return name
    known.add(name)
    return {"type": "record", "name": name, "fields": [_field(field, known) for field in kind.fields]}


def _field(field: inspect.Field, known: set[str]) -> dict[str, Any]:
    described = {"name": field.encode_name, "type": _type(field.type, known)}
    if field.required:
        return described
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(described["type"], list):  # Avro wants a union's default to be of its first type
        described["type"].sort(key=lambda member: (member == "null") != (default is None))
    return {**described, "default": msgspec.to_builtins(default)}


def _type(kind: inspect.Type, known: set[str]) -> Any:
    if type(kind) in _PRIMITIVES:
        return _PRIMITIVES[type(kind)]
    if isinstance(kind, inspect.StructType):
        return _record(kind, known)
    if isinstance(kind, inspect.ListType):
        return {"type": "array", "items": _type(kind.item_type, known)}
    if isinstance(kind, inspect.DictType):
        return {"type": "map", "values": _type(kind.value_type, known)}
    if isinstance(kind, inspect.UnionType):
        return [_type(member, known) for member in kind.types]
    msg = f"Avro has no type for {kind!r}"
    raise TypeError(msg)
