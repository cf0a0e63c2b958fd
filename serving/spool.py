"""The spool of a serving worker: messages kept on disk until the log has them.

Slates go through it always, events while the log does not answer. A frame is length, CRC-32 and a msgpack body, so a
tail torn by a kill is recognised. A spool is a chain of segment files, each removed once it is shipped. A file is
locked while its worker lives: one that can be locked is an orphan, and any worker may ship it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, int, bytes]).decode

SEGMENT_BYTES = 8 * 1024 * 1024  # a larger file is not appended to any more
CHUNK_BYTES = 2 * 1024 * 1024  # to ship at once, about: the log has to take a chunk within its deadline

Spooled = tuple[str, int, bytes]
"""Topic, partition, payload."""


class SpoolFull(Exception):
    """The spool has reached its cap: nothing more can be acknowledged until the log is back."""


class Segment:
    """One append-only file of frames, locked by this process.

    One thread ships (`peek`, `release`); any may `append`, under the caller's lock.

    Raises:
        BlockingIOError: it belongs to a living worker, or was shipped and removed a moment ago.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("a+b", buffering=0)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check_linked(self._file, path)
        except OSError:
            self._file.close()
            raise
        self._shipped = 0
        self.size = max((end for end, _ in self._frames(0, limit=None)), default=0)
        self._file.truncate(self.size)  # a torn tail

    @property
    def pending(self) -> int:
        """Bytes not yet shipped."""
        return self.size - self._shipped

    def append(self, frames: bytes) -> None:
        """Keep whole frames: all of them or none.

        Raises:
            OSError: the disk refuses.
        """
        if self._file.write(frames) != len(frames):
            self._file.truncate(self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(frames)

    def sync(self) -> None:
        """Make everything appended survive a crash of the machine.

        Raises:
            OSError: the disk refuses.
        """
        os.fsync(self._file.fileno())

    def peek(self, limit: int) -> tuple[list[Spooled], int]:
        """Return up to `limit` messages and about `CHUNK_BYTES` not yet shipped, oldest first, and where they end."""
        messages, end = [], self.size
        for end, message in self._frames(self._shipped, limit):
            messages.append(message)
            if end - self._shipped >= CHUNK_BYTES:
                break
        return messages, end

    def release(self, end: int) -> None:
        """Forget everything before `end`: the log has it."""
        self._shipped = end

    def clear(self) -> None:
        """Empty the file, so that it is appended to from its start."""
        self._file.truncate(0)
        self._shipped = self.size = 0

    def _frames(self, offset: int, limit: int | None) -> Iterator[tuple[int, Spooled]]:
        chunk, at, found = b"", 0, 0  # read so far from `offset` on, and how far it is used up
        while limit is None or found < limit:
            end = at + _HEADER.size
            if end <= len(chunk):
                length, checksum = _HEADER.unpack_from(chunk, at)
                end += length
            if end > len(chunk):
                offset, most = offset + at, max(end - at, CHUNK_BYTES)
                chunk, at, before = os.pread(self._file.fileno(), most, offset), 0, len(chunk) - at
                if len(chunk) <= before:
                    return
                continue
            body = memoryview(chunk)[end - length : end]
            if crc32(body) != checksum:
                return
            at, found = end, found + 1
            yield offset + at, _decode(body)

    def close(self) -> None:
        """Release the file; one with nothing left to ship is removed."""
        if not self.pending:
            self.path.unlink(missing_ok=True)
        self._file.close()


class Spool:
    """A worker's own segments, oldest first; only the last one is appended to.

    Offsets count everything ever appended. Threads as for `Segment`.
    """

    def __init__(self, directory: Path, name: str, *, cap_bytes: int) -> None:
        self._directory, self._cap = directory, cap_bytes
        # A worker that follows under the same name meets no old file, and its own ones sort behind them.
        self._prefix = f"{name}-{time.time_ns():016x}"
        self._made = 0
        self._segments: deque[Segment] = deque()
        self._shipped = self._appended = self._base = 0  # base: offset at which the first segment begins

    @property
    def path(self) -> Path:
        """The file that is appended to."""
        return self._segments[-1].path

    @property
    def appended(self) -> int:
        """Bytes ever appended: the offset at which the spool ends."""
        return self._appended

    @property
    def pending(self) -> int:
        """Bytes not yet shipped."""
        return self._appended - self._shipped

    def append(self, messages: Sequence[Spooled]) -> Segment:
        """Keep messages, all of them or none; they survive a crash of the process, once synced also the machine's.

        Returns:
            The segment that holds them, for `Segment.sync`.

        Raises:
            SpoolFull: the cap is reached.
            OSError: the disk refuses.
        """
        frames = b"".join(map(_frame, messages))
        if self.pending + len(frames) > self._cap:
            raise SpoolFull(f"it holds {self.pending} bytes of at most {self._cap}")
        if not self._segments or self._segments[-1].size >= SEGMENT_BYTES:
            self._extend()
        segment = self._segments[-1]
        segment.append(frames)
        self._appended += len(frames)
        return segment

    def _extend(self) -> None:
        while True:
            self._made += 1
            path = self._directory / f"{self._prefix}-{self._made:06d}.spool"
            try:
                self._segments.append(Segment(path))
            except BlockingIOError:
                continue  # another worker took the new file for an orphan before it was locked
            _sync_entry(self._directory)
            return

    def peek(self, limit: int) -> tuple[list[Spooled], int]:
        """Return some messages not yet shipped, oldest first, and where they end; see `Segment.peek`."""
        messages, end = self._segments[0].peek(limit)
        return messages, self._base + end

    def release(self, end: int) -> None:
        """Forget everything before `end`, an offset that `peek` returned: the log has it."""
        first = self._segments[0]
        first.release(end - self._base)
        self._shipped = end
        if first.pending:
            return
        self._base = end
        if len(self._segments) > 1:
            self._segments.popleft().close()
        else:
            first.clear()

    def close(self) -> None:
        """Release the files; those with nothing left to ship are removed."""
        for segment in self._segments:
            segment.close()


def _frame(message: Spooled) -> bytes:
    body = _encode(message)
    return _HEADER.pack(len(body), crc32(body)) + body


def _sync_entry(directory: Path) -> None:
    """Make the names in a directory survive a crash of the machine: syncing a file does not keep its own."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_linked(file: BinaryIO, path: Path) -> None:
    """Raise when the path names no file or another one: whoever held the lock has removed this one."""
    try:
        linked = os.stat(path).st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        linked = False
    if not linked:
        raise BlockingIOError(errno.EAGAIN, "removed by its owner", str(path))


def orphans(directory: Path) -> Iterator[Segment]:
    """Yield the segments whose workers are dead, locked by this process now: in order, by when their workers began."""
    for path in sorted(directory.glob("*.spool"), key=lambda path: path.stem.split("-")[-2:]):
        try:
            segment = Segment(path)
        except BlockingIOError:
            continue
        except (OSError, msgspec.MsgspecError) as error:
            logger.error("cannot ship %s: %s", path, error)
            continue
        if segment.pending:
            yield segment
        else:
            segment.close()
