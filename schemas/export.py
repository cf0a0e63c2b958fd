"""Other forms of the schemas, derived: JSON Schema (2020-12) of one document, AsyncAPI 3.0 of the log's topics."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.inspect import DictType, ListType, StructType, Type, UnionType, type_info
from pydantic import BaseModel

from schemas.fields import Edge

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JSON, MSGPACK = "application/json", "application/vnd.msgpack"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the log: its payload and those `also` on it, how it is partitioned, who appends and who reads."""

    name: str
    payload: type[msgspec.Struct]
    content_type: str
    partitioned_by: str
    description: str
    writers: Sequence[str]
    readers: Sequence[str]
    also: Sequence[type[msgspec.Struct]] = ()

    @property
    def payloads(self) -> Sequence[type[msgspec.Struct]]:
        """All kinds of messages on the topic."""
        return (self.payload, *self.also)


def edge_schema(model: type[BaseModel]) -> Document:
    """Return the JSON Schema of a document at the HTTP edge, in its canonical snake_case names.

    >>> from schemas.user import UserIn
    >>> sorted(edge_schema(UserIn)["properties"])
    ['attributes', 'context', 'labels', 'schema_version', 'user_id']
    """
    is_input = issubclass(model, Edge)
    schema = model.model_json_schema(by_alias=False, mode="validation" if is_input else "serialization")
    if is_input:
        schema["description"] += "\n\nNames in camelCase are accepted as well."
    return {"$schema": DIALECT, **schema}


def struct_schema(struct: type[msgspec.Struct]) -> Document:
    """Return the JSON Schema of a struct on the log.

    Bytes appear as base64 text, which they are in JSON payloads; msgpack payloads hold them as they are.

    >>> from schemas.event import EventItem
    >>> struct_schema(EventItem)["$ref"]
    '#/$defs/EventItem'
    """
    schema = msgspec.json.schema(struct)
    _describe(schema["$defs"], [struct])
    return {"$schema": DIALECT, **schema}


def asyncapi(topics: Sequence[Topic], version: int) -> Document:
    """Return the AsyncAPI document of the log: one channel per topic, one operation per process and direction."""
    structs = [payload for topic in topics for payload in topic.payloads]
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    _describe(schemas, structs)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "The log of Headrace",
            "version": str(version),
            "description": "Every topic, which process appends to it and which reads it; all other state is a view.",
        },
        "defaultContentType": JSON,
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": dict(operation for topic in topics for operation in _operations(topic)),
        "components": {
            "messages": {kind.__name__: _message(kind, topic) for topic in topics for kind in topic.payloads},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def rendered(document: Mapping[str, Any]) -> str:
    """Return a document as the text of its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _channel(topic: Topic) -> Document:
    names = [payload.__name__ for payload in topic.payloads]
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "x-partitioned-by": topic.partitioned_by,
    }


def _operations(topic: Topic) -> Iterator[tuple[str, Document]]:
    for action, verb, processes in (("send", "appends", topic.writers), ("receive", "reads", topic.readers)):
        for process in processes:
            channel = {"$ref": f"#/channels/{topic.name}"}
            yield f"{process}_{verb}_{topic.name}", {"action": action, "channel": channel}


def _message(payload: type[msgspec.Struct], topic: Topic) -> Document:
    name = payload.__name__
    return {
        "name": name,
        "contentType": topic.content_type,
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _describe(schemas: Mapping[str, Document], roots: Sequence[type[msgspec.Struct]]) -> None:
    """Straighten descriptions, and name the places of structs that travel as arrays: their schema omits the names."""
    for info in (found for root in roots for found in _structs(type_info(root))):
        schema = schemas[info.cls.__name__]
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
        for place, field in zip(schema.get("prefixItems", ()), info.fields, strict=False):
            place["title"] = field.name


def _structs(info: Type) -> Iterator[StructType]:
    """Yield the structs that a type consists of."""
    if isinstance(info, StructType):
        yield info
    for part in _parts(info):
        yield from _structs(part)


def _parts(info: Type) -> Sequence[Type]:
    if isinstance(info, StructType):
        return [field.type for field in info.fields]
    if isinstance(info, ListType):
        return [info.item_type]
    if isinstance(info, DictType):
        return [info.value_type]
    return info.types if isinstance(info, UnionType) else ()
