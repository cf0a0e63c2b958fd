"""The spool of a serving worker: messages kept on disk until the log has them.

Slates go through it always, events while the log does not answer. A frame is length, CRC-32 and a msgpack body, so a
tail torn by a kill is recognised. The file is locked while its worker lives: a file that can be locked is an orphan,
and any worker may ship it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

_HEADER = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, int, bytes]).decode

Spooled = tuple[str, int, bytes]
"""Topic, partition, payload."""


class SpoolFull(Exception):
    """The spool has reached its cap: nothing more can be acknowledged until the log is back."""


class Spool:
    """One append-only file, emptied whenever everything in it is shipped.

    One thread ships (`peek`, `release`); any may `append`, under the caller's lock.
    """

    def __init__(self, path: Path, *, cap_bytes: int) -> None:
        self.path = path
        self._cap = cap_bytes
        self._file: BinaryIO = path.open("a+b", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._shipped = 0
        self._size = self._sound_size()
        self._file.truncate(self._size)

    def _sound_size(self) -> int:
        """Return where the last whole frame ends."""
        return max((end for end, _ in self._frames(0, limit=None)), default=0)

    def append(self, message: Spooled, *, durable: bool) -> None:
        """Keep a message; `durable` survives a crash of the machine, otherwise only of the process.

        Raises:
            SpoolFull: the cap is reached.
            OSError: the disk refuses.
        """
        body = _encode(message)
        frame = _HEADER.pack(len(body), crc32(body)) + body
        if self._size + len(frame) > self._cap:
            raise SpoolFull(f"{self.path.name} holds {self._size} bytes of at most {self._cap}")
        self._file.write(frame)
        if durable:
            os.fsync(self._file.fileno())
        self._size += len(frame)

    @property
    def size(self) -> int:
        """Bytes kept, shipped ones included until the file is emptied."""
        return self._size

    @property
    def pending(self) -> int:
        """Bytes not yet shipped."""
        return self._size - self._shipped

    def peek(self, limit: int) -> tuple[list[Spooled], int]:
        """Return up to `limit` messages not yet shipped, oldest first, and where they end."""
        frames = list(self._frames(self._shipped, limit))
        return [message for _, message in frames], frames[-1][0] if frames else self._shipped

    def release(self, end: int) -> None:
        """Forget everything before `end`: the log has it."""
        self._shipped = end
        if self._shipped == self._size:
            self._file.truncate(0)
            self._shipped = self._size = 0

    def _frames(self, offset: int, limit: int | None) -> Iterator[tuple[int, Spooled]]:
        with self.path.open("rb") as file:
            file.seek(offset)
            found = 0
            while limit is None or found < limit:
                header = file.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    return
                length, checksum = _HEADER.unpack(header)
                body = file.read(length)
                if len(body) < length or crc32(body) != checksum:
                    return
                offset += _HEADER.size + length
                found += 1
                yield offset, _decode(body)

    def close(self) -> None:
        """Release the file; an empty one is removed."""
        if not self.pending:
            self.path.unlink(missing_ok=True)
        self._file.close()


def orphans(directory: Path, *, cap_bytes: int) -> Iterator[Spool]:
    """Yield the spools whose workers are dead, locked by this process now."""
    for path in sorted(directory.glob("*.spool")):
        try:
            yield Spool(path, cap_bytes=cap_bytes)
        except BlockingIOError:
            continue
