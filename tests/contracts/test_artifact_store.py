"""The contract of an artifact store, and what the one on files promises about damage and crashes."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from online.adapters.file_artifacts import FileArtifacts
from online.ports import Artifact, ArtifactStore, CorruptArtifact, Fenced


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def store(root: Path) -> ArtifactStore:
    return FileArtifacts(root)


def contents(artifact: Artifact | None) -> dict[str, bytes]:
    assert artifact is not None
    return {name: path.read_bytes() for name, path in artifact.files.items()}


def test_what_is_published_is_what_is_opened(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"\x00" * 3_000_000)
    files = {"weights.npz": b"\x01\x02", "empty.bin": b"", "items.usearch": tmp_path / "made"}
    published = store.publish("ranker", files, {"log": {"events-0": "17-0"}, "seed": 7})
    opened = store.open("ranker")
    assert opened == published
    assert opened is not None
    assert (opened.name, opened.version) == ("ranker", 1)
    assert opened.lineage == {"log": {"events-0": "17-0"}, "seed": 7}
    assert contents(opened) == {"weights.npz": b"\x01\x02", "empty.bin": b"", "items.usearch": b"\0" * 3_000_000}


def test_versions_count_up_and_the_newest_is_latest(store: ArtifactStore) -> None:
    assert [store.publish("a", {"f": b"%d" % n}, {}).version for n in range(3)] == [1, 2, 3]
    assert store.latest("a") == 3
    assert contents(store.open("a")) == {"f": b"2"}
    assert contents(store.open("a", 2)) == {"f": b"1"}


def test_names_do_not_share_versions(store: ArtifactStore) -> None:
    store.publish("a", {"f": b"a"}, {})
    store.publish("b", {"f": b"b"}, {})
    assert (store.latest("a"), store.latest("b")) == (1, 1)
    assert contents(store.open("a")) == {"f": b"a"}


def test_what_was_never_published_is_none(store: ArtifactStore) -> None:
    assert store.latest("a") is None
    assert store.open("a") is None
    store.publish("a", {"f": b""}, {})
    assert store.open("a", 2) is None


def test_the_newest_three_versions_are_kept_and_counting_goes_on(store: ArtifactStore, root: Path) -> None:
    for n in range(5):
        store.publish("a", {"f": b"%d" % n}, {})
    assert [store.open("a", n) is not None for n in range(1, 6)] == [False, False, True, True, True]
    assert FileArtifacts(root).publish("a", {"f": b"5"}, {}).version == 6


def test_a_mapped_version_stays_readable_after_its_removal(store: ArtifactStore) -> None:
    path = store.publish("a", {"f": b"first" * 10_000}, {}).files["f"]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for _ in range(4):
            store.publish("a", {"f": b"other"}, {})
        assert not path.exists()
        assert mapped[:] == b"first" * 10_000


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lengthen, Path.unlink])
@pytest.mark.parametrize("file", ["weights.npz", "manifest.json"])
def test_a_damaged_version_is_never_opened(
    store: ArtifactStore, root: Path, damage: Callable[[Path], None], file: str
) -> None:
    store.publish("a", {"weights.npz": b"good"}, {})
    store.publish("a", {"weights.npz": bytes(range(256))}, {"seed": 1})
    damage(root / "a" / "2" / file)
    with pytest.raises(CorruptArtifact, match="a 2"):
        store.open("a")
    assert contents(store.open("a", 1)) == {"weights.npz": b"good"}


def test_every_bit_of_the_manifest_counts(store: ArtifactStore, root: Path) -> None:
    original = store.publish("a", {"f": b"x"}, {"seed": 1})
    manifest = root / "a" / "1" / "manifest.json"
    intact = manifest.read_bytes()
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 1
        manifest.write_bytes(bytes(damaged))
        try:
            opened = store.open("a")
        except CorruptArtifact:
            continue
        assert opened == original  # only white space between the values may differ


def test_a_manifest_of_another_version_is_refused(store: ArtifactStore, root: Path) -> None:
    for content in (b"old", b"new"):
        store.publish("a", {"f": content}, {})
    for file in ("f", "manifest.json"):
        (root / "a" / "2" / file).write_bytes((root / "a" / "1" / file).read_bytes())
    with pytest.raises(CorruptArtifact, match="manifest"):
        store.open("a")


@pytest.mark.parametrize("text", [b"", b"two\n", b"2", b"../1\n", b"7\n"])
def test_a_wrong_pointer_is_reported(store: ArtifactStore, root: Path, text: bytes) -> None:
    store.publish("a", {"f": b""}, {})
    (root / "a" / "LATEST").write_bytes(text)
    with pytest.raises(CorruptArtifact, match="LATEST"):
        store.open("a")


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "/a", ".a", "A", "a\n", "a b", "a\0", "x" * 65])
def test_names_that_could_leave_the_folder_are_refused(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ValueError, match="names are"):
        store.publish(name, {"f": b""}, {})
    with pytest.raises(ValueError, match="names are"):
        store.publish("a", {name: b""}, {})
    with pytest.raises(ValueError, match="names are"):
        store.open(name)
    with pytest.raises(ValueError, match="names are"):
        store.latest(name)


def test_what_cannot_be_published_changes_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    store.publish("a", {"f": b"kept"}, {})
    with pytest.raises(ValueError, match="needs files"):
        store.publish("a", {}, {})
    with pytest.raises(ValueError, match=r"manifest\.json"):
        store.publish("a", {"manifest.json": b""}, {})
    with pytest.raises(ValueError, match="JSON"):
        store.publish("a", {"f": b""}, {"loss": float("nan")})
    with pytest.raises(TypeError, match="JSON"):
        store.publish("a", {"f": b""}, {"when": object()})
    with pytest.raises(FileNotFoundError):
        store.publish("a", {"f": tmp_path / "missing"}, {})
    assert contents(store.open("a")) == {"f": b"kept"}
    assert store.publish("a", {"f": b"next"}, {}).version == 2


def test_readers_beside_two_publishers_see_whole_versions_only(store: ArtifactStore, root: Path) -> None:
    def publish(writer: int) -> list[int]:
        own = FileArtifacts(root)
        return [
            own.publish("a", {"one": b"%d-%d" % (writer, n), "two": b"%d-%d" % (writer, n)}, {}).version
            for n in range(15)
        ]

    store.publish("a", {"one": b"0", "two": b"0"}, {})
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(publish, writer) for writer in (1, 2)]
        seen = [0]
        while not all(future.done() for future in running):
            opened = store.open("a")
            assert opened is not None
            assert opened.version >= seen[-1]
            seen.append(opened.version)
        versions = sorted(version for future in running for version in future.result())
    assert versions == list(range(2, 32))
    assert store.latest("a") == 31
    assert len(set(contents(store.open("a")).values())) == 1


_DYING_PUBLISHER = """
import os, sys
from pathlib import Path
from online.adapters import file_artifacts
at = sys.argv[2]
original = getattr(file_artifacts, at)
def dying(*arguments):
    original(*arguments)
    os._exit(9)
setattr(file_artifacts, at, dying)
file_artifacts.FileArtifacts(Path(sys.argv[1])).publish("a", {"f": b"new"}, {})
"""


@pytest.mark.parametrize(
    ("dies_after", "latest"), [("_write_durably", b"old"), ("_write_version", b"old"), ("_replace_latest", b"new")]
)
def test_a_publisher_that_dies_leaves_a_whole_version(
    store: ArtifactStore, root: Path, dies_after: str, latest: bytes
) -> None:
    store.publish("a", {"f": b"old"}, {})
    died = subprocess.run([sys.executable, "-c", _DYING_PUBLISHER, str(root), dies_after], check=False)
    assert died.returncode == 9
    assert contents(store.open("a")) == {"f": latest}
    store.publish("a", {"f": b"after"}, {})
    assert contents(store.open("a")) == {"f": b"after"}
    assert not list((root / "a").glob(".aside*"))


def test_the_manifest_states_sha256_and_size(store: ArtifactStore, root: Path) -> None:
    store.publish("a", {"f": b"abc"}, {})
    manifest = json.loads((root / "a" / "1" / "manifest.json").read_text())
    assert manifest["files"]["f"] == {
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "size": 3,
    }


def test_who_follows_another_version_than_the_newest_is_fenced(store: ArtifactStore) -> None:
    assert store.newest("model") == 0
    first = store.publish("model", {"a": b"1"}, {}, after=0)
    second = store.publish("model", {"a": b"2"}, {}, after=first.version)

    for known in (0, first.version):
        with pytest.raises(Fenced):
            store.publish("model", {"a": b"9"}, {}, after=known)

    assert store.newest("model") == store.latest("model") == second.version
    newest = store.open("model")
    assert newest is not None
    assert newest.files["a"].read_bytes() == b"2"
