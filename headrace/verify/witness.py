"""A witness of the log: it reads every topic as it grows, so that it knows what is trimmed later, or vanishes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Event, Thread

from online.connect import open_log
from online.ports import START, EventLog, Message, Unavailable
from replay.history import logged

Seen = Mapping[tuple[str, int], Sequence[Message]]
"""(topic, partition) -> its messages, in log order."""

_CHUNK = 5000
_WAIT_S = 0.5
_RETRY_S = 0.05


class Witness(Thread):
    """Reads the log at a URL, which may be away at times."""

    def __init__(self, url: str, topics: Mapping[str, int]) -> None:
        """Take a connection of its own.

        Args:
            url: of the log.
            topics: name -> partitions.
        """
        super().__init__(name="witness", daemon=True)
        self.seen: dict[tuple[str, int], list[Message]] = {(t, p): [] for t, n in topics.items() for p in range(n)}
        self._log = open_log(url)
        self._stop_asked = Event()

    def run(self) -> None:
        after = dict.fromkeys(self.seen, START)
        while True:
            is_last = self._stop_asked.is_set()  # asked before the read: what is appended by then is read
            try:
                batches = self._log.read(after, max_messages=_CHUNK, wait_s=0.0 if is_last else _WAIT_S)
            except Unavailable:
                time.sleep(_RETRY_S)
                continue
            for batch in batches:
                self.seen[batch.topic, batch.partition] += batch.messages
                after[batch.topic, batch.partition] = batch.messages[-1].position
            if is_last and not batches:
                return

    def stop(self) -> Seen:
        """Return everything there was in the log, up to its head now."""
        self._stop_asked.set()
        self.join()
        self._log.close()
        return self.seen


def seen_now(log: EventLog, topics: Mapping[str, int]) -> Seen:
    """Return what the log holds at present."""
    return {(t, p): _messages(log, t, p) for t, n in topics.items() for p in range(n)}


def changed(seen: Seen, log: EventLog) -> int:
    """Return how many messages of the log are not what a witness saw, trimmed ones aside."""
    different = 0
    for (topic, partition), messages in seen.items():
        held = _messages(log, topic, partition)
        first = held[0].position if held else ""
        expected = {message.position: message.payload for message in messages if held and message.position >= first}
        found = {message.position: message.payload for message in held}
        different += sum(expected.get(p) != found.get(p) for p in expected.keys() | found.keys())
    return different


def _messages(log: EventLog, topic: str, partition: int) -> list[Message]:
    return [message for batch in logged(log, topic, partition) for message in batch.messages]
