"""The load of `headrace verify crash`: clients of the API in threads, as shops have them, and one poisoned producer.

Event time is a clock of the load's own, in the past, which the shoppers put forward: the windows of their slates close
when everything about them is in the log, and never because something was down. So what the join is to make of them
follows from the log alone.
"""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any

import msgspec

from headrace.verify.client import RETRY_S, Client, Stopped
from online.core.partition import EVENTS
from online.ports import EventLog, Unavailable
from replay.poison import random_poison
from replay.traffic import as_guest, random_event
from schemas.event import Event as BehaviourEvent

ITEMS = 400
USERS = 1500
SHOPPERS = 60
GUEST_SHARE = 0.3
BATCH_EVENTS = 40
ROUND_SLATES = 40
PAUSE_S = 0.08  # between the requests of a client
LETTER_PAUSE_S = 1.0
CREATED_AT = 1_600_000_000.0  # of the items: before every time of the load
FORWARD_ROUNDS = 2000  # as often the clock can be put forward


class EventClock:
    """Time of the load, epoch seconds: as fast as any clock, and put forward by more than a window now and then."""

    def __init__(self, window_s: float) -> None:
        self._step_s = window_s + 1.0
        self._behind_s = FORWARD_ROUNDS * self._step_s

    def __call__(self) -> float:
        """Return the time."""
        return time.time() - self._behind_s

    def put_forward(self) -> None:
        """Let a window pass; never beyond the present."""
        self._behind_s = max(self._step_s, self._behind_s - self._step_s)


class Source(Thread):
    """Something that sends in turns until it is stopped."""

    def __init__(self, name: str, stop: Event, seed: str, pause_s: float = PAUSE_S) -> None:
        super().__init__(name=name, daemon=True)
        self._stop_asked, self._pause_s = stop, pause_s
        self._rng = random.Random(seed)
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.wait(self._pause_s):
                self.turn()
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  handed to the thread that started this one, which raises it
            self.failure = error

    @abstractmethod
    def turn(self) -> None:
        """Send something."""


class Visitors(Source):
    """Batches of behaviour events of many users and guests; some are sent twice."""

    def __init__(self, name: str, client: Client, clock: EventClock, stop: Event, seed: str) -> None:
        super().__init__(name, stop, seed)
        self._client, self._clock = client, clock
        self.acknowledged: list[str] = []

    def turn(self) -> None:
        """Send a batch, and perhaps again."""
        events = [random_event(self._rng, self._clock(), users=USERS, items=ITEMS) for _ in range(BATCH_EVENTS)]
        events = [as_guest(event) if self._rng.random() < GUEST_SHARE else event for event in events]
        batch = {"events": [_document(event) for event in [*events, events[0]]]}
        for _ in range(1 + (self._rng.random() < 0.05)):
            self._client.kept("POST", "/v1/events", batch)
        self.acknowledged += [event.event_id for event in events]


class Shoppers(Source):
    """Ask for slates, and tell what was seen and clicked, naming the slate; in rounds, after which windows close."""

    def __init__(self, client: Client, clock: EventClock, until_joined: Callable[[], None], stop: Event, seed: str):
        super().__init__("shoppers", stop, seed, pause_s=PAUSE_S / 4)
        self._client, self._clock, self._until_joined = client, clock, until_joined
        self.acknowledged: list[str] = []
        self.answered: list[str] = []

    def turn(self) -> None:
        """Take a slate, or end a round."""
        self._shop()
        if len(self.answered) % ROUND_SLATES == 0:
            self._until_joined()
            self._clock.put_forward()

    def _shop(self) -> None:
        user = f"shopper-{self._rng.randrange(SHOPPERS)}"
        ask = {"user_id": user, "n": 8, "timestamp": self._clock()}
        answer = self._client.kept("POST", "/v1/recommendations", ask)
        self.answered.append(answer["recommendation_id"])
        shown = [item["item_id"] for item in answer["items"]]
        if not shown:
            return  # a worker that could not catch up with the log in time knows no items yet
        told = [self._event(user, answer, "impression", shown[: self._rng.randrange(1, 9)])]
        if self._rng.random() < 0.5:
            told.append(self._event(user, answer, "click", [self._rng.choice(shown)]))
        if self._rng.random() < 0.8:  # else nothing was seen, and there is no example
            self._client.kept("POST", "/v1/events", {"events": told})
            self.acknowledged += [event["event_id"] for event in told]

    def _event(self, user: str, answer: dict[str, Any], kind: str, items: Sequence[str]) -> dict[str, Any]:
        return {
            "event_id": f"{self._rng.getrandbits(96):024x}",
            "event_type": kind,
            "user_id": user,
            "items": [{"item_id": item} for item in items],
            "recommendation_id": answer["recommendation_id"],
            "timestamp": self._clock(),
        }


class Office(Source):
    """Changes items and users, and lets guests log in."""

    def __init__(self, client: Client, stop: Event, seed: str) -> None:
        super().__init__("office", stop, seed)
        self._client = client
        self.merges = 0

    def load_catalogue(self) -> None:
        """Put all items; to be called before the thread is started."""
        items = [self._item(number) for number in range(ITEMS)]
        self._client.kept("POST", "/v1/items:batch", {"items": items})

    def turn(self) -> None:
        """Change something."""
        chance, user = self._rng.random(), int(USERS * self._rng.random() ** 2)
        if chance < 0.2:
            item = self._item(self._rng.randrange(ITEMS))
            self._client.kept("POST", "/v1/items:batch", {"items": [item]})
        elif chance < 0.4:
            self._client.kept("PUT", f"/v1/users/{user}", {"labels": [f"label-{self._rng.randrange(5)}"]})
        else:
            self._client.kept("POST", f"/v1/users/{user}:merge", {"visitor_id": f"guest-{user}"})
            self.merges += 1

    def _item(self, number: int) -> dict[str, Any]:
        return {
            "item_id": f"item-{number}",
            "categories": [f"c{number % 23}"],
            "brand": f"b{number % 57}",
            "price": 5 + self._rng.randrange(400),
            "created_at": CREATED_AT,
        }


class Poisoner(Source):
    """A producer of its own on the log, whose messages no view can take."""

    def __init__(self, log: EventLog, partitions: int, clock: EventClock, stop: Event, seed: str) -> None:
        super().__init__("poisoner", stop, seed, pause_s=LETTER_PAUSE_S)
        self._log, self._partitions, self._clock = log, partitions, clock

    def turn(self) -> None:
        """Append one such message."""
        _, payload = random_poison(self._rng, random_event(self._rng, self._clock()))
        try:
            self._log.append(EVENTS, [(self._rng.randrange(self._partitions), payload)])
        except Unavailable:
            time.sleep(RETRY_S)


def _document(event: BehaviourEvent) -> dict[str, Any]:
    """Return an event as a client sends it."""
    document: dict[str, Any] = msgspec.to_builtins(event)
    del document["received_at"]
    document.pop("schema_version", None)
    document["items"] = [{"item_id": item.item_id} for item in event.items]
    return document
