from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.record import create_tables
from headrace.rebuild.dead import Living, dead_positions
from online.adapters.memory_state import MemoryState
from online.connect import open_warehouse
from online.core.catalogue import ITEM_DOCUMENT, ITEMS, CatalogueFold
from online.core.dead_letter import DEAD, DeadLetter, encode_dead_letter
from online.core.letters import LETTER, LETTERS_VIEW, Letter, encode_letter
from online.core.rows import blocks
from online.ports import Batch, Message, Warehouse
from schemas.item import Item, encode_item


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    """A database of the test's own."""
    server = open_warehouse(warehouse_url)
    server.execute("CREATE DATABASE test_rebuild_dead")
    opened = open_warehouse(f"{warehouse_url.rpartition('/')[0]}/test_rebuild_dead")
    create_tables(opened)
    yield opened
    opened.close()
    server.execute("DROP DATABASE test_rebuild_dead")
    server.close()


def item(item_id: str) -> bytes:
    return encode_item(Item(item_id=item_id, updated_at=1.0, created_at=1.0))


def test_what_is_dead_in_the_view_or_in_the_archive_stays_dead_in_a_rebuilt_view(warehouse: Warehouse) -> None:
    state = MemoryState()
    held = {"a": Letter(1, ITEMS, 0, "2"), "b": Letter(2, ITEMS, 1, "1"), "c": Letter(3, "events", 0, "1")}
    claim = state.claim(LETTERS_VIEW, 0)
    written = {LETTER: {key: encode_letter(letter) for key, letter in held.items()}}
    state.commit(LETTERS_VIEW, 0, claim.generation, written, b"")
    gone = DeadLetter(topic=ITEMS, partition=0, position="3", reason="r", payload=b"")
    for block in blocks(Batch(DEAD, 0, [Message("1", encode_dead_letter(gone))])):
        warehouse.insert(block.table.name, block.table.columns, block.rows, token=block.token)
    dead = dead_positions(state, warehouse, 0)

    assert dead == {(ITEMS, "2"), (ITEMS, "3"), ("events", "1")}
    batch = Batch(ITEMS, 0, [Message(str(n), item(f"item-{n}")) for n in range(1, 5)])
    folded = Living(CatalogueFold(), dead).fold(batch, 1)
    assert list(folded.writes[ITEM_DOCUMENT]) == ["item-1", "item-4"]


def test_tables_of_before_get_the_columns_they_lack(warehouse: Warehouse) -> None:
    warehouse.execute("ALTER TABLE dead_letters DROP COLUMN found_at, DROP COLUMN size")
    create_tables(warehouse)

    assert warehouse.query("SELECT found_at, size FROM dead_letters") == []
