from __future__ import annotations

from pathlib import Path

from flows.blend import PUBLISH_S, blend_view
from online.adapters.file_artifacts import FileArtifacts
from online.core.item_table import ItemTable
from online.core.update import UPDATES, SessionTouch, Update, encode_update
from online.ports import START, Batch, Message
from online.world import BLEND, World, served_blend


def batch(first: int, last: int) -> Batch:
    updates = [
        Update(0, seq, {}, [SessionTouch(seq, item, float(seq)) for item in ("a", "b")]) for seq in range(first, last)
    ]
    return Batch(UPDATES, 0, [Message(f"{u.seq:05d}", encode_update(u)) for u in updates])


def test_the_blend_is_published_and_its_next_owner_reads_what_the_log_holds(tmp_path: Path) -> None:
    artifacts, now = FileArtifacts(tmp_path), [1000.0]
    view = blend_view(artifacts=artifacts, clock=lambda: now[0])
    view.adopt(0)
    view.step(batch(1, 20))()
    first = artifacts.open(BLEND)
    assert first is not None
    assert first.lineage["positions"] == {f"{UPDATES}/0": "00019"}

    other = blend_view(artifacts=artifacts, clock=lambda: now[0])
    other.adopt(0)
    assert other.positions() == {(UPDATES, 0): START}
    now[0] += 2 * PUBLISH_S
    other.step(batch(1, 30))()
    second = artifacts.open(BLEND)
    assert second is not None
    assert second.lineage["clicks"] > first.lineage["clicks"]

    world = World(ItemTable(1), blend=served_blend(second))
    assert world.blend.clicks == second.lineage["clicks"]
