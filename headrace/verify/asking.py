"""Clients that ask and tell on a schedule, whatever answers: what they got counts from when it was due."""

from __future__ import annotations

import random
import time
from threading import Event, Thread
from typing import Any, NamedTuple

from online.ports import Unavailable
from replay.http_system import HttpSystem, Rejected


class Answer(NamedTuple):
    """What became of a request: when it was due and answered, what went wrong (empty: nothing), and of a slate which
    one it is, its rung and why it is none better. `told` are the ids of events that were acknowledged.
    """

    due: float
    received: float
    error: str = ""
    slate: str = ""
    rung: str = ""
    why: str = ""
    told: tuple[str, ...] = ()

    @property
    def latency_ms(self) -> float:
        """From when it was due: a request that had to wait for the one before is charged for that."""
        return (self.received - self.due) * 1000.0


class Scheduled(Thread):
    """Sends a request every `period_s` seconds over one connection, which is opened again where it ends."""

    def __init__(self, name: str, connection: HttpSystem, *, period_s: float, users: int, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.answers: list[Answer] = []
        self._connection, self._period_s, self._users = connection, period_s, users
        self._rng = random.Random(f"{seed} {name}")
        self._ended = Event()

    def run(self) -> None:
        due = time.monotonic() + self._rng.random() * self._period_s
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self.answers.append(self._answered(due))
            due += self._period_s

    def end(self) -> None:
        """Let it send no more, and wait for its last answer."""
        self._ended.set()
        self.join()

    def _answered(self, due: float) -> Answer:
        try:
            return self.ask(due)
        except (Unavailable, Rejected) as error:
            return Answer(due, time.monotonic(), error=str(error))

    def ask(self, due: float) -> Answer:
        """Send one request and return its answer.

        Raises:
            Unavailable, Rejected: there is none.
        """
        raise NotImplementedError

    def _user(self) -> str:
        return f"user-{self._rng.randrange(self._users)}"

    def _item(self) -> str:
        return f"item-{self._rng.randrange(100)}"


class Asker(Scheduled):
    """Asks for slates of known users; every other request also says what the session has looked at."""

    def ask(self, due: float) -> Answer:
        """Ask for a slate."""
        asked: dict[str, Any] = {"user_id": self._user(), "n": 10}
        if len(self.answers) % 2:
            asked["session_items"] = [self._item() for _ in range(3)]
        _, slate = self._connection.call("POST", "/v1/recommendations", asked)
        fallback = slate["fallback"] or {"rung": "personal", "why": ""}
        received = time.monotonic()
        return Answer(due, received, slate=slate["recommendation_id"], rung=fallback["rung"], why=fallback["why"])


class Teller(Scheduled):
    """Tells what users have clicked."""

    def ask(self, due: float) -> Answer:
        """Send some events."""
        ids = tuple(f"{self._rng.getrandbits(96):024x}" for _ in range(5))
        events = [{"event_id": i, "event_type": "click", "user_id": self._user(), "item_id": self._item()} for i in ids]
        self._connection.call("POST", "/v1/events", {"events": events})
        return Answer(due, time.monotonic(), told=ids)
