from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import serving.follower
from online.adapters.exact_index import ExactIndex
from online.adapters.file_artifacts import FileArtifacts
from online.core.catalogue import CATALOGUE_VIEW, ITEM_DOCUMENT, ITEMS
from online.core.checkpoint import Checkpoint, encode_checkpoint
from online.core.features import INDEX
from online.core.item_stats import ItemStats, encode_item_stats
from online.core.item_table import ItemTable
from online.core.partition import ITEM
from online.core.update import UPDATES, SessionTouch, Update, encode_update
from online.models.item_vectors import IDS_FILE, INDEX_FILE, MATRIX_FILE
from online.vectors import read_vectors
from online.world import RANKER, RANKER_FILE, VECTORS, World
from schemas.item import Item, encode_item
from serving.contact import Contact
from serving.follower import Follower

T0 = 1_700_000_000.0
Wait = Callable[..., Any]


def item(item_id: str, **fields: Any) -> bytes:
    return encode_item(Item(item_id=item_id, updated_at=T0, created_at=T0, **fields))


def stats(popularity: float) -> ItemStats:
    return ItemStats(landmark=0.0, popularity=[popularity] * 3, first_time=T0, last_time=T0)


def view_exact(path: Path) -> ExactIndex:
    matrix = np.load(path, allow_pickle=False)
    return ExactIndex(matrix, np.arange(len(matrix), dtype=np.int64))


class Following:
    """A follower over ports in memory, and the world it keeps."""

    def __init__(self, log: Any, state: Any, directory: Path) -> None:
        self.log, self.state = log, state
        self.directory = directory
        self.artifacts = FileArtifacts(directory)
        self.world = World(ItemTable(2))
        self.refused: list[str] = []
        self.contact = Contact(state, "api-0")
        self.follower = Follower(
            self.world,
            open_log=lambda: log,
            state=state,
            artifacts=self.artifacts,
            open_vectors=lambda artifact: read_vectors(artifact, view_exact),
            partitions=2,
            clock=lambda: T0,
            contact=self.contact,
            refused=self.refused.append,
        )

    def publish_ranker(self, **weights: float) -> int:
        document = msgspec.json.encode({"weights": weights, "intercept": 0.0})
        return self.artifacts.publish(RANKER, {RANKER_FILE: document}, {}).version


@pytest.fixture
def following(
    switched_log: Any, switched_state: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Following]:
    monkeypatch.setattr(serving.follower, "ARTIFACTS_S", 0.01)
    monkeypatch.setattr(serving.follower, "RETRY_S", 0.01)
    monkeypatch.setattr(serving.follower, "REFRESH_S", 0.01)
    monkeypatch.setattr(serving.follower, "WAIT_S", 0.02)
    following = Following(switched_log, switched_state, tmp_path)
    yield following
    following.follower.close()


def test_it_loads_what_the_views_hold_and_goes_on_behind_it(following: Following, eventually: Wait) -> None:
    state, log = following.state.port, following.log.port
    positions = log.append(ITEMS, [(0, item("folded", brand="old")), (0, item("behind"))])
    checkpoint = encode_checkpoint(Checkpoint(seq=1, positions={ITEMS: positions[0]}))
    claim = state.claim(CATALOGUE_VIEW, 0)
    documents = {"folded": item("folded", brand="new")}
    state.commit(CATALOGUE_VIEW, 0, claim.generation, {ITEM_DOCUMENT: documents}, checkpoint)
    claim = state.claim("state", 1)
    state.commit("state", 1, claim.generation, {ITEM: {"folded": encode_item_stats(stats(4.0))}}, b"")

    following.follower.start()
    eventually(following.follower.at_head.is_set)

    table = following.world.table
    assert table.documents["folded"].brand == "new"
    assert table.documents["behind"].item_id == "behind"
    assert table.totals[table.row("folded"), 0] == 4.0
    assert following.world.tops is not None


def test_it_is_at_the_head_only_once_everything_is_read(following: Following, eventually: Wait) -> None:
    following.log.port.append(ITEMS, [(0, item(f"i{n}")) for n in range(1200)])

    following.follower.start()
    eventually(following.follower.at_head.is_set)

    assert len(following.world.table) == 1200
    assert len(following.world.tops.new.everybody) == 200


def test_items_updates_and_toplists_follow_the_log(following: Following, eventually: Wait) -> None:
    following.follower.start()
    eventually(following.follower.at_head.is_set)
    world = following.world

    following.log.append(ITEMS, [(0, item("a")), (0, item("b"))])
    touches = [SessionTouch(1, "a", T0), SessionTouch(1, "b", T0 + 1)]
    following.log.append(UPDATES, [(0, encode_update(Update(0, 1, {"b": stats(2.0)}, touches)))])

    eventually(
        lambda: world.tops is not None and world.tops.popular.everybody.tolist() == [world.table.ids.codes.get("b")]
    )
    rows, _ = world.sessions.query(np.array([world.table.row("a")], np.int32), now=T0 + 2, limit=5)
    assert world.table.row("b") in rows.tolist()


def test_an_update_sent_twice_changes_nothing(following: Following, eventually: Wait) -> None:
    following.follower.start()
    update = encode_update(Update(0, 1, {"a": stats(2.0)}, [SessionTouch(1, "a", T0)]))

    following.log.append(UPDATES, [(0, update), (0, update), (0, encode_update(Update(1, 1, {"b": stats(1.0)}, [])))])
    eventually(lambda: following.world.table.applied == {0: 1, 1: 1})

    assert following.world.table.totals[following.world.table.row("a"), 0] == 2.0


def test_a_message_that_cannot_be_read_is_passed_over(following: Following, eventually: Wait) -> None:
    claim = following.state.port.claim(CATALOGUE_VIEW, 0)
    documents: dict[str, bytes | None] = {"broken": b"?", "kept": item("kept")}
    checkpoint = encode_checkpoint(Checkpoint())
    following.state.port.commit(CATALOGUE_VIEW, 0, claim.generation, {ITEM_DOCUMENT: documents}, checkpoint)
    following.follower.start()

    following.log.append(ITEMS, [(0, b"?"), (0, item("a"))])
    following.log.append(UPDATES, [(0, b"?"), (0, encode_update(Update(0, 1, {"a": stats(2.0)}, [])))])

    eventually(lambda: following.world.table.applied == {0: 1})
    eventually(lambda: set(following.world.table.documents) == {"kept", "a"})


def test_a_newer_ranker_is_served(following: Following, eventually: Wait) -> None:
    following.follower.start()
    following.publish_ranker(popularity=1.0)
    eventually(lambda: following.world.ranker_version == 1)

    following.publish_ranker(popularity=2.0)
    eventually(lambda: following.world.ranker_version == 2)

    assert following.world.ranker.version == "2"
    assert following.world.ranker.weights[INDEX["popularity"]] == 2.0


@pytest.mark.parametrize("damage", ["flipped bit", "missing file", "unknown feature", "other file", "no document"])
def test_a_damaged_ranker_is_refused_the_old_one_keeps_serving_and_the_next_is_taken(
    following: Following, eventually: Wait, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    following.follower.start()
    following.publish_ranker(popularity=1.0)
    eventually(lambda: following.world.ranker_version == 1)

    if damage in ("flipped bit", "missing file"):
        aside = FileArtifacts(following.directory / "aside")
        aside.publish(RANKER, {RANKER_FILE: b"?"}, {})
        folder = aside.publish(RANKER, {RANKER_FILE: b'{"weights":{},"intercept":0}'}, {}).files[RANKER_FILE].parent
        if damage == "missing file":
            (folder / RANKER_FILE).unlink()
        else:
            (folder / RANKER_FILE).write_bytes(b'{"weights":{},"intercept":1}')
        folder.rename(following.directory / RANKER / "2")
        (following.directory / RANKER / "LATEST").write_bytes(b"2\n")
    elif damage == "unknown feature":
        following.publish_ranker(what_nobody_computes=1.0)
    else:
        name = RANKER_FILE if damage == "no document" else "another.json"
        following.artifacts.publish(RANKER, {name: b"[]"}, {})
    eventually(lambda: any("refusing ranker 2" in text for text in caplog.messages))

    assert following.world.ranker_version == 1
    assert following.world.ranker.weights[INDEX["popularity"]] == 1.0
    following.publish_ranker(popularity=3.0)
    eventually(lambda: following.world.ranker_version == 3)
    assert sum("refusing" in text for text in caplog.messages) == 1


def test_a_damaged_pointer_to_the_latest_version_stops_nothing(following: Following, eventually: Wait) -> None:
    following.follower.start()
    following.publish_ranker(popularity=1.0)
    eventually(lambda: following.world.ranker_version == 1)

    (following.directory / RANKER / "LATEST").write_bytes(b"?")
    following.log.append(ITEMS, [(0, item("a"))])
    eventually(lambda: "a" in following.world.table.documents)
    following.publish_ranker(popularity=2.0)

    eventually(lambda: following.world.ranker_version == 2)


def npy(matrix: list[list[float]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(matrix, np.float32), allow_pickle=False)
    return buffer.getvalue()


def test_vectors_are_swapped_as_one_and_refused_when_their_files_do_not_fit(
    following: Following, eventually: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    following.follower.start()
    matrix = npy([[1.0, 0.0], [0.0, 1.0]])
    following.artifacts.publish(
        VECTORS, {INDEX_FILE: matrix, MATRIX_FILE: matrix, IDS_FILE: b'["a","b"]'}, {"positions": {}}
    )
    vectors = eventually(lambda: following.world.vectors)
    assert (vectors.version, vectors.labels) == (1, {"a": 0, "b": 1})

    for files in (
        {INDEX_FILE: matrix, MATRIX_FILE: matrix, IDS_FILE: b'["a"]'},
        {INDEX_FILE: b"", MATRIX_FILE: matrix, IDS_FILE: b'["a","b"]'},
        {INDEX_FILE: matrix, MATRIX_FILE: matrix},
    ):
        version = following.artifacts.publish(VECTORS, files, {}).version
        eventually(lambda version=version: f"refusing vectors {version}" in caplog.text)

    assert following.world.vectors is vectors
    assert following.follower.is_alive
    assert following.refused == [VECTORS] * 3


def test_it_comes_back_when_log_or_store_were_away(following: Following, eventually: Wait) -> None:
    following.state.is_off = True
    following.follower.start()
    following.log.port.append(ITEMS, [(0, item("a"))])
    eventually(lambda: following.follower.is_alive and not following.follower.at_head.is_set())
    following.state.is_off = False
    eventually(following.follower.at_head.is_set)
    following.log.fail_times = 3
    following.log.port.append(ITEMS, [(0, item("b"))])

    eventually(lambda: set(following.world.table.documents) == {"a", "b"})


def test_what_a_store_did_not_take_is_announced_again_before_the_next_message(
    following: Following, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.follower.start()
    eventually(lambda: following.follower.at_head.is_set() and following.contact.others())
    log, read = following.log.port, following.log.port.read

    def until_a_message(after: Any, *, max_messages: int, wait_s: float) -> Any:
        is_short = wait_s <= serving.follower.UNHEARD_S
        return read(after, max_messages=max_messages, wait_s=wait_s if is_short else 3600.0)

    monkeypatch.setattr(log, "read", until_a_message)  # no message comes that would end the wait
    following.state.fail_times = 2
    log.append(ITEMS, [(0, item("a"))])
    last = log.extent(ITEMS, 0).last

    try:
        eventually(lambda: following.state.fail_times == 0)
        eventually(lambda: following.contact.others()["api-0"][ITEMS] == last)
    finally:
        monkeypatch.setattr(log, "read", read)
        log.append(ITEMS, [(0, item("b"))])  # ends the wait
