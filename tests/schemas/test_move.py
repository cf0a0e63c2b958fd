from __future__ import annotations

import msgspec
import pytest

from schemas.event import decode_event, user_key
from schemas.move import MOVE_TYPES, Arrived, Departed, decode_move, encode_move, ids, is_move
from schemas.user import User, encode_user


@pytest.mark.parametrize("key", ["u7", "vabc", "uü:{}"])
def test_a_move_reads_as_an_event_of_its_record(key: str) -> None:
    user_id, visitor_id = ids(key)
    arrived = Arrived(
        event_id="2>4:x", timestamp=5.0, received_at=5.0, user_id=user_id, visitor_id=visitor_id, record=b"\x00\xff"
    )

    event = decode_event(encode_move(arrived))
    assert (event.event_type in MOVE_TYPES, event.user_key) == (True, key)
    assert decode_move(encode_move(arrived)) == arrived
    assert user_key(*ids(key)) == key


def test_what_departed_is_no_user_document_and_the_other_way_round() -> None:
    departed = Departed(event_id="e", timestamp=0.0, received_at=0.0, user_id="7")

    assert is_move(encode_move(departed))
    assert not is_move(encode_user(User(user_id="7", updated_at=5.0)))
    with pytest.raises(msgspec.MsgspecError):
        is_move(b"\xff no document")
