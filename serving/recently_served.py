"""The slates that a worker served last, as they were logged, while they are on their way."""

from __future__ import annotations

from collections import OrderedDict

SERVED_BYTES = 16 * 1024 * 1024


class Served:
    """Encoded slates by their id, the latest ones within a bound of bytes."""

    def __init__(self, most_bytes: int = SERVED_BYTES) -> None:
        self._most, self._size = most_bytes, 0
        self._slates: OrderedDict[str, bytes] = OrderedDict()

    def note(self, recommendation_id: str, encoded: bytes) -> None:
        """Take in a slate; the oldest ones go."""
        self._slates[recommendation_id] = encoded
        self._size += len(encoded)
        while self._size > self._most:
            self._size -= len(self._slates.popitem(last=False)[1])

    def get(self, recommendation_id: str) -> bytes | None:
        """Return a slate of those served last.

        >>> served = Served(most_bytes=3)
        >>> served.note("a", b"12"), served.note("b", b"34")
        (None, None)
        >>> served.get("a"), served.get("b")
        (None, b'34')
        """
        return self._slates.get(recommendation_id)
