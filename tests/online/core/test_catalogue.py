from __future__ import annotations

from online.core.catalogue import ITEM_DOCUMENT, ITEMS, CatalogueFold
from online.core.dead_letter import DEAD, decode_dead_letter
from online.ports import Batch, Message
from schemas.item import Item, decode_item, encode_item


def document(item_id: str, **fields: object) -> bytes:
    return encode_item(Item(item_id=item_id, updated_at=1.0, created_at=1.0, **fields))  # type: ignore[arg-type]


def fold(*payloads: bytes) -> tuple[dict[str, bytes | None], list[tuple[str, int, bytes]]]:
    batch = Batch(ITEMS, 0, [Message(str(i), payload) for i, payload in enumerate(payloads)])
    folded = CatalogueFold().fold(batch, 1)
    return folded.writes[ITEM_DOCUMENT], folded.outbox


def test_the_last_document_of_an_item_stands_byte_for_byte() -> None:
    last = document("a", brand="new").replace(b"}", b',"field of a later version":1}')

    writes, outbox = fold(document("a", brand="old"), document("b"), last)

    assert writes == {"a": last, "b": document("b")}
    assert outbox == []


def test_a_tombstone_stays_as_a_document() -> None:
    writes, _ = fold(document("a"), document("a", deleted=True))

    payload = writes["a"]
    assert payload is not None
    assert decode_item(payload).deleted


def test_what_is_no_item_is_dead_lettered_and_the_others_are_folded() -> None:
    writes, outbox = fold(document("a"), b'{"item_id":5}', document("b"))

    assert set(writes) == {"a", "b"}
    ((topic, partition, payload),) = outbox
    letter = decode_dead_letter(payload)
    assert (topic, partition, letter.topic, letter.position) == (DEAD, 0, ITEMS, "1")
    assert letter.payload == b'{"item_id":5}'
    assert "item_id" in letter.reason
