"""Batches of events from a process of their own, by the clock, whatever the server answers; every answer is noted.

`python -m headrace.verify.flood` reads one `Flood` (a JSON line) from stdin and prints one `Answers`. With a rate,
a batch is sent when it is due if a connection is free, else as soon as one is; without, as soon as one is free.
Bodies are prepared once and only their ids change: the flood shares its cores with the system that it floods.
"""

from __future__ import annotations

import asyncio
import gc
import random
import subprocess
import sys
import time
from collections import deque

import msgspec

PATIENCE_S = 30.0  # after the end, for batches under way
PREPARED = 16
_MARK = b"#" * 12


class Flood(msgspec.Struct, kw_only=True):
    """What to send where. Event ids are `<run><number of the batch, 8 hex digits>-<row>`."""

    host: str
    port: int
    run: str  # 4 characters
    seconds: float
    connections: int
    batch: int
    users: int
    items: int
    rate: float | None = None  # batches per second
    seed: int = 1


class Answers(msgspec.Struct, kw_only=True):
    """What was answered: batches by status, and which of them were accepted."""

    accepted: list[int] = []
    statuses: dict[str, int] = {}
    refused_without_retry_after: int = 0
    broken: int = 0  # connections lost amid a batch
    unsent: int = 0  # due, but no connection came free until the end
    retry_after_s: list[int] = []  # least, greatest
    took_s: float = 0.0


def flood(plan: Flood) -> Answers:
    """Send a flood from a process of its own and return the answers."""
    argv = [sys.executable, "-m", "headrace.verify.flood"]
    done = subprocess.run(argv, input=msgspec.json.encode(plan) + b"\n", stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Answers)


def event_ids(plan: Flood, number: int) -> list[str]:
    """Return the ids of a batch's events.

    >>> plan = Flood(host="", port=1, run="aaaa", seconds=1, connections=1, batch=2, users=9, items=9)
    >>> event_ids(plan, 10)
    ['aaaa0000000a-0', 'aaaa0000000a-1']
    """
    return [f"{plan.run}{number:08x}-{row}" for row in range(plan.batch)]


def _request(plan: Flood, rng: random.Random) -> bytes:
    row = b'{"event_id":"%s-%d","event_type":"view","user_id":"%d","item_id":"item-%d","surface":"home"}'
    rows = [row % (_MARK, n, rng.randrange(plan.users), rng.randrange(plan.items)) for n in range(plan.batch)]
    body = b'{"events":[%s]}' % b",".join(rows)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one batch under way at a time."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self.transport: asyncio.Transport | None = None
        self.received = b""
        self.number: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.received[:end].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self.received) >= end + 4 + length:
            body, self.received = self.received[end + 4 :], b""
            self._sender.answered(self, head, body)

    def connection_lost(self, error: Exception | None) -> None:
        self._sender.lost(self)


class _Sender:
    def __init__(self, plan: Flood) -> None:
        self._plan, rng = plan, random.Random(plan.seed)
        self._prepared = [_request(plan, rng) for _ in range(PREPARED)]
        self._sent = 0
        self._due = 0
        self._idle: deque[_Connection] = deque()
        self._is_over = False
        self._opening: set[asyncio.Task[None]] = set()
        self.answers = Answers()

    async def run(self) -> Answers:
        plan = self._plan
        await asyncio.gather(*(self._open() for _ in range(plan.connections)))
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < plan.seconds:
            self._due = self._sent + len(self._idle) if plan.rate is None else int(plan.rate * passed)
            self._send()
            await asyncio.sleep(0.002)
        self.answers.took_s = time.perf_counter() - began
        self.answers.unsent = max(0, self._due - self._sent)
        self._is_over = True
        patience = time.perf_counter() + PATIENCE_S
        while len(self._idle) < plan.connections and time.perf_counter() < patience:
            await asyncio.sleep(0.01)
        self.answers.broken += plan.connections - len(self._idle)
        return self.answers

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), self._plan.host, self._plan.port)
        self._idle.append(connection)

    def _send(self) -> None:
        while self._idle and self._sent < self._due and not self._is_over:
            connection = self._idle.popleft()
            assert connection.transport is not None
            connection.number = self._sent
            self._sent += 1
            mark = f"{self._plan.run}{connection.number:08x}".encode()
            connection.transport.write(self._prepared[connection.number % PREPARED].replace(_MARK, mark))

    def answered(self, connection: _Connection, head: bytes, body: bytes) -> None:
        assert connection.number is not None
        answers, status = self.answers, head[9:12].decode()
        answers.statuses[status] = answers.statuses.get(status, 0) + 1
        if status == "202" and b'"rejected":0' in body:
            answers.accepted.append(connection.number)
        elif status in ("429", "503"):
            self._note_retry_after(head)
        connection.number = None
        if b"connection: close" not in head:
            self._idle.append(connection)
            if self._plan.rate is None:
                self._due = self._sent + 1
            self._send()

    def _note_retry_after(self, head: bytes) -> None:
        wait = head.partition(b"\r\nretry-after:")[2].split(b"\r\n", 1)[0].strip()
        if not wait.isdigit():
            self.answers.refused_without_retry_after += 1
            return
        known = [*self.answers.retry_after_s, int(wait)]
        self.answers.retry_after_s = [min(known), max(known)]

    def lost(self, connection: _Connection) -> None:
        """Count the batch under way, if any, and open another connection."""
        self.answers.broken += connection.number is not None
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._is_over:
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)


if __name__ == "__main__":
    gc.disable()  # a run is short, and its pauses would count as the server's
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Flood)
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_Sender(plan).run())))
