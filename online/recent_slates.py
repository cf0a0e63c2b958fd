"""The slates that were served last, read from the end of the log."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import chain

import msgspec

from online.core.join import SLATES
from online.ports import EventLog
from schemas.slate import Slate, decode_slate

FIRST_S, LONGEST_S = 1.0, 7 * 86_400.0  # how far back is looked
READ = 500  # messages at once


def recent_slates(log: EventLog, *, partitions: int, most: int, now: float) -> list[Slate]:
    """Return at most so many slates, newest first.

    The log is read from ever earlier moments until it has given enough, so that little is read however much it holds.

    Raises:
        Unavailable: the log does not answer.
    """
    back = FIRST_S
    while True:
        found = _since(log, now - back, partitions, most)
        if len(found) >= most or back >= LONGEST_S:
            return sorted(found, key=lambda slate: slate.served_at, reverse=True)[:most]
        back *= 4.0


def _since(log: EventLog, time: float, partitions: int, most: int) -> list[Slate]:
    """Return the last slates of each partition from a moment on."""
    after = {(SLATES, p): log.before(SLATES, p, time) for p in range(partitions)}
    last: dict[int, deque[bytes]] = {p: deque(maxlen=most) for p in range(partitions)}
    while batches := log.read(after, max_messages=READ, wait_s=0.0):
        for batch in batches:
            after[batch.topic, batch.partition] = batch.messages[-1].position
            last[batch.partition] += (message.payload for message in batch.messages)
    found = []
    for payload in chain(*last.values()):
        with suppress(msgspec.MsgspecError):  # of what is no slate nothing can be drawn again
            found.append(decode_slate(payload))
    return found
