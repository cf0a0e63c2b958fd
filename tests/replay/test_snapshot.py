from __future__ import annotations

from pathlib import Path

from online.adapters.file_artifacts import FileArtifacts
from online.core.checkpoint import Checkpoint
from replay.refold import Refolded
from replay.snapshot import read_snapshot, write_snapshot

FAMILIES = ("user", "item")


def some() -> Refolded:
    records = {"user": {"ua": b"1", "ü\n": b""}, "item": {"i": b"\x00" * 70_000}}
    return Refolded(records, Checkpoint(positions={"events": "7-1"}, folded={"events": 3}))


def test_a_snapshot_gives_back_what_it_was_taken_of(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path)
    write_snapshot(artifacts, "s", some(), step="1")

    assert read_snapshot(artifacts, "s", FAMILIES, step="1") == some()


def test_there_is_none_before_the_first_and_none_of_another_step(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path)
    assert read_snapshot(artifacts, "s", FAMILIES, step="1") is None
    write_snapshot(artifacts, "s", some(), step="1")
    assert read_snapshot(artifacts, "s", FAMILIES, step="2") is None


def test_a_damaged_one_is_none(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path)
    version = write_snapshot(artifacts, "s", some(), step="1")
    (tmp_path / "s" / str(version) / "records.msgpack").write_bytes(b"x")

    assert read_snapshot(artifacts, "s", FAMILIES, step="1") is None
