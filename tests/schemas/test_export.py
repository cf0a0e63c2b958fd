"""The generated documents of `docs/schemas/` are those of the code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from flows.record import RecordView
from headrace.cli.operate import app
from headrace.schema import BY_USER, EDGE, SINGLE, TOPICS, documents
from online.core.catalogue import CatalogueFold
from online.core.control import ControlFold
from online.core.join import JoinFold
from online.core.letters import LettersFold
from online.core.partition import EVENTS, PartitionFold
from online.topics import SINGLE_TOPICS, USER_TOPICS
from schemas.export import DIALECT, Document, rendered, struct_schema

DOCS = Path(__file__).parents[2] / "docs" / "schemas"
GENERATED = documents()


@pytest.mark.parametrize("name", GENERATED)
def test_the_file_in_docs_is_what_the_code_generates(name: str) -> None:
    path = DOCS / name
    assert path.exists(), f"{name} is missing: run `uv run headrace schema`"
    assert path.read_text(encoding="utf-8") == rendered(GENERATED[name]), f"{name}: run `uv run headrace schema`"


def test_docs_hold_no_file_that_is_not_generated() -> None:
    assert {path.name for path in DOCS.iterdir()} == set(GENERATED)


@pytest.mark.parametrize("name", GENERATED)
def test_every_reference_resolves_within_its_document(name: str) -> None:
    document = json.loads(rendered(GENERATED[name]))
    for reference in _references(document):
        assert isinstance(_target(document, reference), dict), reference


@pytest.mark.parametrize("name", sorted(set(GENERATED) - {"asyncapi.json"}))
def test_a_schema_names_its_dialect(name: str) -> None:
    assert GENERATED[name]["$schema"] == DIALECT


@pytest.mark.parametrize("model", EDGE)
def test_an_edge_schema_has_every_field_by_its_canonical_name(model: Any) -> None:
    schema = next(d for d in GENERATED.values() if d.get("title") == model.__name__)
    assert set(schema["properties"]) == set(model.model_fields)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_log_schema_has_every_field_in_order(topic: Any) -> None:
    name = topic.payload.__name__
    schema = struct_schema(topic.payload)["$defs"][name]
    places = [place["title"] for place in schema.get("prefixItems", ())]
    assert (places or list(schema["properties"])) == [f.name for f in msgspec.structs.fields(topic.payload)]


def test_every_kind_of_message_of_a_topic_is_described() -> None:
    channel = GENERATED["asyncapi.json"]["channels"][EVENTS]
    assert list(channel["messages"]) == [
        "Event",
        "Preferences",
        "Erased",
        "Merge",
        "Absorb",
        "Forwarded",
        "Arrived",
        "Departed",
    ]
    assert {f"{name}.json" for name in ("event", "preferences", "merge", "absorb", "forwarded")} <= set(GENERATED)


def test_every_topic_is_described_with_its_partitioning() -> None:
    by_user = {topic.name for topic in TOPICS if topic.partitioned_by.startswith(BY_USER)}
    single = {topic.name for topic in TOPICS if topic.partitioned_by == SINGLE}
    assert (by_user, single) == (set(USER_TOPICS), set(SINGLE_TOPICS))


@pytest.mark.parametrize(
    ("process", "read"),
    [
        ("flow_state", {*PartitionFold.topics, *CatalogueFold.topics, *LettersFold.topics, *ControlFold.topics}),
        ("flow_record", {topic for topic in RecordView.topics if topic}),
    ],
)
def test_the_readers_of_a_topic_are_those_in_the_code(process: str, read: set[str]) -> None:
    assert {topic.name for topic in TOPICS if process in topic.readers} == read


def test_the_learn_flow_is_described_as_a_reader_of_what_it_joins() -> None:
    assert set(JoinFold.topics) <= {topic.name for topic in TOPICS if "flow_learn" in topic.readers}


def test_the_asyncapi_document_has_a_channel_and_operations_for_every_topic() -> None:
    document = GENERATED["asyncapi.json"]
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {topic.name for topic in TOPICS}
    described = {(o["channel"]["$ref"], o["action"]) for o in document["operations"].values()}
    assert described == {(f"#/channels/{t.name}", action) for t in TOPICS for action in ("send", "receive")}


def test_the_command_writes_the_documents_and_prints_one_object(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "new"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["files"] == list(GENERATED)
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(GENERATED)


def test_the_command_says_in_one_line_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from _references(part)


def _target(document: Document, reference: str) -> Any:
    assert reference.startswith("#/"), f"{reference} leaves the document"
    node: Any = document
    for part in reference[2:].split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node
