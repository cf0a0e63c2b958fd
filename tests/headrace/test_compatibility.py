"""The gate: what was released stays readable."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.operate import app
from headrace.compatibility import ACCEPTED, changes, incompatibilities, lasting, released
from headrace.schema import write


def test_messages_and_records_are_compatible_with_every_released_version() -> None:
    found = incompatibilities()
    assert not found, "\n".join(["add fields with a default at the end, and change or remove none:", *found])


def test_an_accepted_change_is_still_one() -> None:
    assert set(ACCEPTED) <= set(changes(released(), lasting()))


def test_version_1_is_guarded_in_all_its_messages_and_records() -> None:
    assert set(released()["1"]) == {
        "Event", "User", "Item", "Slate", "Update", "Example", "DeadLetter",
        "UserRecord", "Checkpoint", "OpenSlate", "RecordCheckpoint",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("struct", "field", "complaint"),
    [("Event", "traceparent", "traceparent: is gone"), ("Event", "consent", "consent: is gone")],
)
def test_a_field_that_is_removed_is_refused(struct: str, field: str, complaint: str) -> None:
    present = copy.deepcopy(lasting())
    del present[struct]["$defs"][struct]["properties"][field]

    assert any(line.startswith(f"{struct}, as of version 1: {complaint}") for line in changes(released(), present))


def test_a_field_put_between_others_of_a_record_is_refused() -> None:
    present = copy.deepcopy(lasting())
    places = present["UserRecord"]["$defs"]["UserRecord"]["prefixItems"]
    places.insert(1, {"type": "string", "title": "between"})

    assert "UserRecord, as of version 1: position: its place 1 is between now; fields may only be appended" in changes(
        released(), present
    )


def test_the_command_passes_what_is_compatible_and_fresh_and_fails_what_is_stale(tmp_path: Path) -> None:
    write(tmp_path)
    passed = CliRunner().invoke(app, ["schema", "--check", "--out", str(tmp_path), "--json"])
    (tmp_path / "event.json").write_text("{}")
    failed = CliRunner().invoke(app, ["schema", "--check", "--out", str(tmp_path), "--json"])

    assert (passed.exit_code, failed.exit_code) == (0, 1)
    assert json.loads(passed.stdout) == {"released": sorted(released()), "incompatible": [], "stale": []}
    assert json.loads(failed.stdout)["stale"] == ["event.json"]
    assert "write it with" in failed.stderr
    assert (tmp_path / "event.json").read_text() == "{}"


def test_the_command_says_what_is_incompatible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.setattr("headrace.compatibility.ACCEPTED", {})

    result = CliRunner().invoke(app, ["schema", "--check", "--out", str(tmp_path)])

    assert result.exit_code == 1
    assert "incompatible: DeadLetter, as of version 1: partition" in result.stderr


def test_a_release_writes_what_later_versions_are_held_to(tmp_path: Path) -> None:
    path = tmp_path / "9.json"

    result = CliRunner().invoke(app, ["schema", "--release", str(path), "--out", str(tmp_path / "docs")])

    assert result.exit_code == 0
    assert json.loads(path.read_text()) == json.loads(json.dumps(lasting()))
    assert changes({"9": json.loads(path.read_text())}, lasting()) == []
