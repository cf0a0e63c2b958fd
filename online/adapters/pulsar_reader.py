"""One partition of a Pulsar topic, read from any position on; and what a position is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulsar
from pulsar import MessageId, Result

from online.ports import START, LogError, Message, Position

QUEUED = 2000
"""Messages that the client takes from the broker before they are asked for: the bound of what waits in memory."""


PLACE_DIGITS = 6


def position_of(ledger: int, entry: int, place: int) -> Position:
    """Return the position of an entry's message; `place` counts from 1, and 0 is in front of the first.

    >>> position_of(5, 3, 1)
    '000000000005:0000000003:000001'
    """
    return f"{ledger:012d}:{entry:010d}:{place:0{PLACE_DIGITS}d}"


def parsed(position: Position) -> tuple[int, int, int]:
    """Return ledger, entry and place of a position.

    Raises:
        LogError: it is none of a Pulsar log.

    >>> parsed(position_of(5, 3, 1))
    (5, 3, 1)
    """
    try:
        ledger, entry, place = (int(part) for part in position.split(":"))
    except ValueError:
        raise LogError(f"{position!r} is no position of a Pulsar log") from None
    return ledger, entry, place


class PartitionReader:
    """A Reader behind a position, and where it stands.

    It waits for a message inside the client library, which then calls `arrived` from a thread of its own; what came
    together with that message is taken without waiting. So nothing polls, and the client's queue bounds what waits.
    """

    def __init__(self, client: pulsar.Client, topic: str, after: Position, arrived: Callable[[], None]) -> None:
        self.position = after
        self._arrived = arrived
        self._reader = client.create_reader(
            topic,
            _start(after),
            receiver_queue_size=QUEUED,
            start_message_id_inclusive=True,  # the entry may hold more messages than were read
        )
        self._native = self._reader._reader  # whose asynchronous read the client's wrapper offers to asyncio only
        self._first: Any = None  # the message that ended the wait
        self._is_lost = False
        self._entry, self._prefix = (-1, -1), ""
        self._wait()

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there. A reader that lost it is to be opened again: it would wait longer and longer."""
        return not self._is_lost and bool(self._native.is_connected())

    def take(self, most: int) -> list[Message]:
        """Return up to `most` messages that are here already."""
        taken: list[Message] = []
        if self._is_waiting:
            return taken
        received, self._first = self._first or self._next(), None
        while received is not None:
            position = self._position(received.message_id())
            if position > self.position:
                self.position = position
                taken.append(Message(position, received.data()))
                if len(taken) == most:
                    return taken
            received = self._next()
        self._wait()
        return taken

    def close(self) -> None:
        """Give the reader back."""
        self._reader.close()

    def _wait(self) -> None:
        self._is_waiting = True
        self._native.read_next_async(self._receive)

    def _receive(self, result: Result, received: Any) -> None:
        if result == Result.Ok:
            self._first = received
            self._is_waiting = False  # only now may another thread take it
        else:
            self._is_lost = True
        self._arrived()

    def _next(self) -> Any:
        try:
            return self._native.read_next(0)
        except pulsar.Timeout:
            return None

    def _position(self, found: Any) -> Position:
        entry = found.ledger_id(), found.entry_id()
        if entry != self._entry:  # it holds many messages: their positions begin alike
            self._entry, self._prefix = entry, position_of(*entry, 0)[:-PLACE_DIGITS]
        return f"{self._prefix}{max(found.batch_index(), 0) + 1:0{PLACE_DIGITS}d}"


def _start(after: Position) -> Any:
    if after == START:
        return MessageId.earliest
    ledger, entry, _ = parsed(after)
    return MessageId(-1, ledger, entry, -1)
