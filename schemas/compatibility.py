"""What a change of a schema breaks, for messages and records that outlive the program that wrote them.

Compatible means both ways: this program reads what older ones wrote, for ever, and older ones read what this one
writes, while a restart rolls through the processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]

ANYTHING = "anything"
LIMITS = (
    "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "contentEncoding",
)  # fmt: skip
_NONE = object()


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Return one line for each change between two JSON Schemas, as msgspec derives them, that is not compatible.

    A field that is added with a default breaks nothing; nor does what only people read, such as a description.

    >>> before = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    >>> after = {"type": "object", "properties": {"id": {"type": "integer"}, "size": {"type": "integer"}}}
    >>> for line in breaking_changes(before, after):
    ...     print(line)
    id: may be missing now, and older programs need it
    id: is no string any more, as old messages have it
    id: may be integer now, and older programs refuse that
    """
    return list(_Comparison(old, new).changes(old, new, ""))


@dataclass(slots=True)
class _Comparison:
    old_root: Schema
    new_root: Schema
    seen: set[tuple[int, int]] = field(default_factory=set)  # pairs compared already: schemas may be recursive

    def changes(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = _kinds(old, self.old_root), _kinds(new, self.new_root)
        where = path or "the document"
        for kind in before:
            if kind not in after and not _covers(after, kind):
                yield f"{where}: is no {kind} any more, as old messages have it"
        for kind in after:
            if kind not in before and not _covers(before, kind):
                yield f"{where}: may be {kind} now, and older programs refuse that"
        for kind in before.keys() & after.keys():
            yield from self._same_kind(before[kind], after[kind], path)

    def _same_kind(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        if (id(old), id(new)) in self.seen:
            return
        self.seen.add((id(old), id(new)))
        for limit in LIMITS:
            if old.get(limit) != new.get(limit):
                yield f"{path}: {limit} was {old.get(limit)!r} and is {new.get(limit)!r}"
        yield from _values(old, new, path)
        if "properties" in old or "properties" in new:
            yield from self._fields(old, new, path)
        if "prefixItems" in old or "prefixItems" in new:
            yield from self._places(old, new, path)
        for part, sign in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(old.get(part), Mapping) and isinstance(new.get(part), Mapping):
                yield from self.changes(old[part], new[part], f"{path}{sign}")

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in before:
            at = f"{path}.{name}".lstrip(".")
            if name not in after:
                yield f"{at}: is gone, and older programs and old messages have it"
                continue
            yield from _needed(name in needed, name in needs, at)
            default = before[name].get("default", _NONE), after[name].get("default", _NONE)
            if _NONE not in default and default[0] != default[1]:
                yield f"{at}: its default was {default[0]!r} and is {default[1]!r}, and messages leave it out"
            yield from self.changes(before[name], after[name], at)
        for name in after.keys() - before.keys():
            if name in needs:
                yield f"{path}.{name}: is new and has no default, and old messages lack it".lstrip(".")

    def _places(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """Compare structs that travel as arrays, which hold every place that their writer knew.

        Fields are known by their places, and may only be appended.
        """
        before, after = old.get("prefixItems", []), new.get("prefixItems", [])
        needed, needs = old.get("minItems", 0), new.get("minItems", 0)
        for number, place in enumerate(before):
            at = f"{path}.{place.get('title', number)}".lstrip(".")
            if number >= len(after):
                yield f"{at}: is gone, and older programs and old messages have it"
                continue
            if place.get("title") != after[number].get("title"):
                yield f"{at}: its place {number} is {after[number].get('title')} now; fields may only be appended"
                continue
            yield from _needed(number < needed, number < needs, at)
            yield from self.changes(place, after[number], at)
        for number in range(len(before), min(needs, len(after))):
            name = after[number].get("title", number)
            yield f"{path}.{name}: is new and has no default, and old messages lack it".lstrip(".")


def _needed(was: bool, is_now: bool, path: str) -> Iterator[str]:
    if is_now and not was:
        yield f"{path}: has no default any more, and old messages may lack it"
    if was and not is_now:
        yield f"{path}: may be missing now, and older programs need it"


def _values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    """Compare enumerations."""
    before, after = old.get("enum"), new.get("enum")
    if before is None and after is None:
        return
    for value in before or ():
        if after is not None and value not in after:
            yield f"{path}: may not be {value!r} any more, as old messages have it"
    for value in after or ():
        if before is not None and value not in before:
            yield f"{path}: may be {value!r} now, and older programs refuse that"
    if (before is None) != (after is None):
        yield f"{path}: {'is one of a list now' if before is None else 'is not one of a list any more'}"


def _kinds(schema: Schema, root: Schema) -> dict[str, Schema]:
    """Return the alternatives of a schema by their JSON type."""
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        return {kind: one for part in schema["anyOf"] for kind, one in _kinds(part, root).items()}
    named = schema.get("type", "string" if "enum" in schema else ANYTHING)
    return dict.fromkeys([named] if isinstance(named, str) else named, schema)


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _covers(kinds: Mapping[str, Schema], kind: str) -> bool:
    return ANYTHING in kinds or (kind == "integer" and "number" in kinds)
