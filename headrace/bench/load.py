"""HTTP load from a process of its own, over raw keep-alive connections, as cheap as Python makes it.

`python -m headrace.bench.load` reads one `Load` (a JSON line) from stdin, sends until its seconds are over or stdin
ends, and prints one `Outcome`. Open loop: requests are due at the moments of a Poisson process and their latency
counts from the moment they were due, so that a server that stalls is charged for those that had to wait. Closed loop
(no rate): every connection sends its next request when the last one is answered.
"""

from __future__ import annotations

import asyncio
import gc
import random
import selectors
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

import msgspec

TIMEOUT_S = 10.0  # after the last request is due, for those under way
_STATUS = slice(9, 12)  # of "HTTP/1.1 200 OK"
_MARK = b"#" * 16  # where a prepared request takes its unique id


class Load(msgspec.Struct, kw_only=True):
    """What to send where. `kind` is slates (POST for random `user_ids`) or events (POST, `batch` of them a request)."""

    host: str
    port: int
    kind: str
    seconds: float
    connections: int
    rate: float | None = None  # requests per second; None: closed loop
    user_ids: list[str] = []  # who asks for slates
    users: int = 1000  # who have events
    items: int = 1000
    batch: int = 1
    seed: int = 1


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a load; latencies are of the answered requests, in the order of the answers."""

    sent: int = 0
    errors: int = 0
    took_s: float = 0.0
    latencies_ms: list[float] = []


class Running:
    """A load in its own process."""

    def __init__(self, load: Load) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headrace.bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(load) + b"\n")
        self._process.stdin.flush()

    def result(self, *, now: bool = False) -> Outcome:
        """Return the outcome once the seconds are over, or `now`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if now:
            self._process.stdin.close()
        return msgspec.json.decode(self._process.stdout.read(), type=Outcome)

    def close(self) -> None:
        """End the load; it does so by itself when this process is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def running(load: Load | None) -> Iterator[Running | None]:
    """Have a load run beside the block; None runs nothing."""
    if load is None:
        yield None
        return
    process = Running(load)
    try:
        yield process
    finally:
        process.close()


def send(load: Load) -> Outcome:
    """Send a load from a process of its own and return its outcome."""
    with running(load) as process:
        assert process is not None
        return process.result()


def requests(load: Load) -> Iterator[bytes]:
    """Yield whole HTTP requests for ever.

    >>> next(requests(Load(host="h", port=1, kind="slates", seconds=1, connections=1, user_ids=["7"]))).split()[-1]
    b'{"user_id":"7","n":10}'
    """
    return _slates(load) if load.kind == "slates" else _events(load)


def _slates(load: Load) -> Iterator[bytes]:
    rng = random.Random(load.seed)
    prepared = [_post(load, "recommendations", b'{"user_id":"%s","n":10}' % user.encode()) for user in load.user_ids]
    while True:
        yield rng.choice(prepared)


def _events(load: Load) -> Iterator[bytes]:
    """Yield events with ids of their own: a few requests are prepared, and each time their marks are replaced."""
    rng, run = random.Random(load.seed), uuid.uuid4().hex[:8]
    prepared = cycle([_event_request(load, rng) for _ in range(max(8, 2000 // load.batch))])
    for number, request in enumerate(prepared):
        yield request.replace(_MARK, b"%s%08x" % (run.encode(), number))


def _event_request(load: Load, rng: random.Random) -> bytes:
    rows = [
        b'{"event_id":"%s-%d","event_type":"%s","user_id":"%d","item_id":"item-%d","surface":"home"}'
        % (
            _MARK,
            row,
            b"click" if rng.random() < 0.4 else b"view",
            rng.randrange(load.users),
            int(rng.random() ** 3 * load.items),
        )
        for row in range(load.batch)
    ]
    body = rows[0] if load.batch == 1 else b'{"events":[%s]}' % b",".join(rows)
    return _post(load, "events", body)


def _post(load: Load, path: str, body: bytes) -> bytes:
    head = (
        f"POST /v1/{path} HTTP/1.1\r\nHost: {load.host}:{load.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at a time."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self.due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._received.lower().find(b"content-length:", 0, head)
        length = int(self._received[at + 15 : self._received.index(b"\r\n", at)])
        if len(self._received) >= head + 4 + length:
            is_ok = self._received[_STATUS] in (b"200", b"202")
            self._received = b""
            self._sender.answered(self, is_ok)

    def connection_lost(self, error: Exception | None) -> None:
        self._sender.lost(self)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class _Sender:
    """Gives due requests to idle connections, and counts what comes back."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = requests(load)
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()  # moments at which requests were due that no connection was free for
        self._under_way = 0
        self._until = 0.0
        self.outcome = Outcome(latencies_ms=[])
        self._latencies = self.outcome.latencies_ms
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        loop, load = asyncio.get_running_loop(), self._load
        connections = [
            (await loop.create_connection(lambda: _Connection(self), load.host, load.port))[1]
            for _ in range(load.connections)
        ]
        self._idle.extend(connections)
        began = time.perf_counter()
        self._until = began + load.seconds
        if load.rate is None:
            for _ in connections:
                self._due(began)
            await self._sleep_until(self._until)
        else:
            await self._arrivals(load.rate, began)
        self._until = 0.0
        patience = time.perf_counter() + TIMEOUT_S
        while (self._under_way or self._waiting) and time.perf_counter() < patience:
            await asyncio.sleep(0.005)
        self.outcome.errors += self._under_way + len(self._waiting)
        self.outcome.took_s = time.perf_counter() - began
        for connection in connections:
            connection.close()

    async def _arrivals(self, rate: float, began: float) -> None:
        rng, due = random.Random(self._load.seed + 1), began
        while not self.stopped.is_set():
            due += rng.expovariate(rate)
            if due > self._until:
                return
            if due > time.perf_counter():
                await self._sleep_until(due)
            self._due(due)

    async def _sleep_until(self, moment: float) -> None:
        left = moment - time.perf_counter()
        if left > 0.05:  # only long sleeps need to notice a stop
            try:
                await asyncio.wait_for(self.stopped.wait(), left)
            except TimeoutError:
                return
        else:
            await asyncio.sleep(left)

    def _due(self, due: float) -> None:
        self.outcome.sent += 1
        if self._idle:
            self._give(self._idle.popleft(), due)
        else:
            self._waiting.append(due)

    def _give(self, connection: _Connection, due: float) -> None:
        self._under_way += 1
        connection.send(next(self._requests), due)

    def answered(self, connection: _Connection, is_ok: bool) -> None:
        now = time.perf_counter()
        self._under_way -= 1
        if is_ok:
            self._latencies.append(round((now - connection.due) * 1000.0, 3))
        else:
            self.outcome.errors += 1
        if self._waiting:
            self._give(connection, self._waiting.popleft())
        elif self._load.rate is None and now < self._until and not self.stopped.is_set():
            self.outcome.sent += 1
            self._give(connection, now)
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """Let the run fail when the server closes a connection before the end."""
        if self._until:
            self.stopped.set()


async def _main(load: Load, stdin: int) -> Outcome:
    sender = _Sender(load)
    loop = asyncio.get_running_loop()
    loop.add_reader(stdin, sender.stopped.set)  # nothing more is written there: readable means closed
    await sender.run()
    loop.remove_reader(stdin)
    return sender.outcome


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selectors.SelectSelector())  # epoll would round sleeps up to milliseconds


if __name__ == "__main__":
    gc.disable()  # a run is short, and its pauses would count as the server's
    with open(0, "rb", buffering=0) as stdin, asyncio.Runner(loop_factory=_loop) as runner:
        outcome = runner.run(_main(msgspec.json.decode(stdin.readline(), type=Load), stdin.fileno()))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))
