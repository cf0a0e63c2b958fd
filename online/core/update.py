"""Updates: what each committed batch changed in the views that others follow."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .item_stats import ItemStats

UPDATES = "updates"


class SessionTouch(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One positive interaction for the session index, emitted once per distinct event and item."""

    session: int  # 64-bit key
    item_id: str
    time: float
    was: int = 0  # the key that the session has had until this touch, 0 when it keeps the one it has
    audiences: tuple[str, ...] = ()  # of the event (`online.core.audience`)


class Update(msgspec.Struct, array_like=True):
    """What one committed batch of one partition changed: absolute item aggregates, and new touches.

    `seq` counts the partition's commits. A repeated message has a `seq` already seen and is dropped whole.
    """

    partition: int
    seq: int
    items: dict[str, ItemStats]
    touches: list[SessionTouch]


_encode = msgspec.msgpack.Encoder().encode
encode_update = _encode
decode_update = msgspec.msgpack.Decoder(Update).decode


def pack_update(partition: int, seq: int, items: Mapping[str, bytes], touches: list[SessionTouch]) -> bytes:
    """Return the bytes of an `Update` whose item aggregates are encoded already.

    >>> stats = ItemStats(first_time=5.0)
    >>> packed = pack_update(0, 1, {"a": msgspec.msgpack.encode(stats)}, [])
    >>> packed == encode_update(Update(0, 1, {"a": stats}, []))
    True
    """
    return _encode((partition, seq, {item: msgspec.Raw(stats) for item, stats in items.items()}, touches))
