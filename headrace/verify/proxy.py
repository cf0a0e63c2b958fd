"""A TCP proxy that breaks the way to a service on demand, for tests and proofs of what clients then do."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any, NamedTuple, Self

PIECE = 64 * 1024  # bytes read at once
SLICES_PER_S = 50.0  # in which a throttled stream passes
CALL_S = 10.0

Address = tuple[str, int] | str
"""Host and port, or the path of a unix socket."""


@dataclass(frozen=True, slots=True)
class Fault:
    """How the way to a service is broken.

    `delay_s` passes before each piece goes on, in either direction; `bytes_per_s` bounds the stream, 0 for no bound.
    `resets` ends each connection by RST, those to come too; `refuses` also closes the port. `loses` lets the
    connections of before fall silent, as of a host that is gone, while new ones are sound. `holds` lets nothing pass
    until the fault ends, neither of old connections nor of new ones: then what was sent arrives, as TCP repeats it,
    also what nobody waits for any more.
    """

    name: str
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    resets: bool = False
    refuses: bool = False
    loses: bool = False
    holds: bool = False


SOUND = Fault("sound")
RESET = Fault("reset", resets=True)
REFUSED = Fault("refused", resets=True, refuses=True)
HALF_OPEN = Fault("half-open", loses=True)
BLACK_HOLE = Fault("black-hole", holds=True)


class _Stream(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(slots=True, eq=False)
class _Link:
    """A connection of a client, and the one to the service behind it; `is_lost`: the service is out of reach."""

    client: _Stream
    service: _Stream | None = None
    is_lost: bool = False

    def streams(self) -> Iterator[asyncio.StreamWriter]:
        yield self.client.writer
        if self.service is not None:
            yield self.service.writer


class FaultProxy:
    """Passes what clients of a loopback port say to a service, and back; a thread of its own does it.

    Args:
        service: where it listens; it need not yet.
    """

    def __init__(self, service: Address) -> None:
        self._service, self._fault = service, SOUND
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._passing.set()
        self._call(self._listen())
        return self

    def __exit__(self, *_error: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def inject(self, fault: Fault) -> None:
        """Break the way as the fault says, in the place of the one before; `SOUND` ends it."""
        self._call(self._inject(fault))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        await self._inject(REFUSED)
        await asyncio.gather(*self._tasks)

    async def _inject(self, fault: Fault) -> None:
        self._fault = fault
        self._passing.clear() if fault.holds else self._passing.set()
        for link in list(self._links):
            if fault.resets:
                _reset(link)
            elif fault.loses and link.service is not None:
                link.is_lost = True
                link.service.writer.close()
        if fault.refuses and self._server is not None:
            self._server.close()
            self._server = None
        elif not fault.refuses and self._server is None:
            await self._listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(_Stream(reader, writer))
        task = asyncio.current_task()
        assert task is not None
        self._links.add(link)
        self._tasks.add(task)
        try:
            if self._fault.resets:
                _reset(link)
                return
            await self._passing.wait()
            link.service = await self._reached()
            await self._joined(link, link.service)
        except OSError:  # the service is not there, or one of both has ended it: the other is to hear of it
            _reset(link)
        finally:
            for stream in link.streams():
                stream.close()
            self._links.discard(link)
            self._tasks.discard(task)

    async def _reached(self) -> _Stream:
        if isinstance(self._service, str):
            return _Stream(*await asyncio.open_unix_connection(self._service))
        return _Stream(*await asyncio.open_connection(*self._service))

    async def _joined(self, link: _Link, service: _Stream) -> None:
        """Pass both ways until one side ends; of a service that is lost, the client hears nothing."""
        there = asyncio.create_task(self._pass(link, link.client.reader, service.writer))
        back = asyncio.create_task(self._pass(link, service.reader, link.client.writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            if link.is_lost:
                await there
        finally:
            both = [there, back]
            for task in both:
                task.cancel()
            ended = await asyncio.gather(*both, return_exceptions=True)
        for error in ended:
            if isinstance(error, OSError):
                raise error

    async def _pass(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE):
            await self._passing.wait()
            if link.is_lost:
                continue
            fault = self._fault
            if fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            size = max(1, int(fault.bytes_per_s / SLICES_PER_S)) if fault.bytes_per_s else len(data)
            for at in range(0, len(data), size):
                if fault.bytes_per_s:
                    await asyncio.sleep(len(data[at : at + size]) / fault.bytes_per_s)
                writer.write(data[at : at + size])
                await writer.drain()


def _reset(link: _Link) -> None:
    """End a connection by RST."""
    for stream in link.streams():
        sock = stream.get_extra_info("socket")
        with suppress(OSError):  # it has ended already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.transport.abort()
