from __future__ import annotations

import msgspec
import pytest

from headrace.schema import DOCUMENTS
from schemas.avro import avro_record
from schemas.event import Event


class Leaf(msgspec.Struct):
    name: str


class Tree(msgspec.Struct):
    left: Leaf
    right: Leaf


@pytest.mark.parametrize("document", DOCUMENTS.values())
def test_every_document_on_the_log_has_a_definition_in_which_only_required_fields_lack_a_default(
    document: type[msgspec.Struct],
) -> None:
    fields = {field["name"]: field for field in avro_record(document)["fields"]}

    assert list(fields) == [field.encode_name for field in msgspec.structs.fields(document)]
    for field in msgspec.structs.fields(document):
        assert ("default" in fields[field.encode_name]) is not field.required


def test_a_default_is_of_the_first_type_of_its_union() -> None:
    class Choice(msgspec.Struct):
        unset: int | None = None
        set: int | None = 3

    unset, given = avro_record(Choice)["fields"]

    assert (unset["type"], unset["default"]) == (["null", "long"], None)
    assert (given["type"], given["default"]) == (["long", "null"], 3)


def test_a_record_is_defined_once_and_named_from_then_on() -> None:
    left, right = avro_record(Tree)["fields"]

    assert left["type"]["name"] == right["type"] == "Leaf"


def test_events_nest_their_items() -> None:
    (items,) = [field for field in avro_record(Event)["fields"] if field["name"] == "items"]

    assert items["type"]["items"]["name"] == "EventItem"


def test_what_avro_cannot_say_is_refused() -> None:
    class Odd(msgspec.Struct):
        members: set[int]

    with pytest.raises(TypeError, match="Avro has no type for"):
        avro_record(Odd)
