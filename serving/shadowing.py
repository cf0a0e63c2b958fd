"""Shadows are scored by a thread of their own, between requests: a request comes first at every stage.

The interpreter runs one thread at a time. So the thread begins when nothing has been asked for a while, lets go after
each stage of the ranking path, and goes on only when the worker is idle again; what an answer can wait for it is the
rest of one stage. It has no lower priority than the others: a thread that the system holds back while it holds the
interpreter would hold back everybody.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Condition, Thread
from typing import NamedTuple

from online.control.policy import POLICY
from online.core.record import UserRecord
from online.core.shadow import SHADOWS, Shadow, compared
from online.pipeline import SlateRequest, recommend
from online.world import World
from schemas.shadow import encode_shadow
from schemas.slate import Slate

from .spool import Spooled, SpoolFull

logger = logging.getLogger(__name__)

WAITING = 32  # requests at most; more are dropped
LATE_S = 0.5  # after the answer the world is no longer that of the answer: what waits longer is dropped
QUIET_S = 0.001  # without a request, before a stage begins
YIELD_S = 1e-4  # long enough for a thread that waits for the interpreter to take it
ANSWER_S = 0.1  # a request that began longer ago than that and has not ended was refused
COMPARABLE = frozenset({"", "client seed"})  # slates that were drawn by their policy, for somebody

_BROKEN = (ArithmeticError, LookupError, ValueError)
"""What a policy that does not work raises in the ranking path."""


class _Waiting(NamedTuple):
    since: float
    world: World
    request: SlateRequest
    record: UserRecord | None
    served: Slate
    shadow: Shadow


class _Late(Exception):
    """The worker was busy until it was too late."""


class Shadowing:
    """Scores shadows and keeps what they drew; `count` is told of each what became of it."""

    def __init__(self, keep: Callable[[Spooled], None], count: Callable[[str], None]) -> None:
        self._keep, self._count = keep, count
        self._waiting: deque[_Waiting] = deque()
        self._changed = Condition()
        self._closing = False
        self._began = self._ended = 0.0  # of the last request
        self._thread = Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; what waits is not scored any more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def answering(self) -> None:
        """Take note that a request has come in."""
        self._began = time.monotonic()

    def answered(self, world: World, request: SlateRequest, record: UserRecord | None, served: Slate) -> None:
        """Take note that a slate was served, and have the surface's shadows answer the same request."""
        self._ended = time.monotonic()
        if request.listing:  # of nobody's choice: a policy has nothing to do with it
            return
        for shadow in world.control.surface(request.surface).shadows:
            if served.ope_why in COMPARABLE and random.random() < shadow.share:
                self._offer(_Waiting(self._ended, world, request, record, served, shadow))

    def _offer(self, waiting: _Waiting) -> None:
        if len(self._waiting) >= WAITING:
            self._count("dropped")
            return
        with self._changed:
            self._waiting.append(waiting)
            self._changed.notify()

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            try:
                self._score(waiting)
                self._count("scored")
            except (_Late, SpoolFull, OSError):
                self._count("dropped")
            except _BROKEN:
                logger.exception("the shadow %s of %s cannot answer", waiting.shadow, waiting.request.surface)
                self._count("failed")

    def _next(self) -> _Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return None if self._closing else self._waiting.popleft()

    def _score(self, waiting: _Waiting) -> None:
        stages = _Stages(lambda: self._until_idle(waiting.since + LATE_S))
        began = time.monotonic()
        world, served, shadow = replace(waiting.world), waiting.served, waiting.shadow
        request = _shadowed(waiting)
        world.ranker = world.ranker_of(request.policy)
        drawn = recommend(world, request, waiting.record, stopwatch=stages)
        drawn.stages_us, drawn.records = stages.us, served.records
        drawn.decision_id = served.decision_id
        logged = compared(served, drawn, shadow, waited_ms=round((began - waiting.since) * 1e3, 3))
        self._keep((SHADOWS, 0, encode_shadow(logged)))

    def _until_idle(self, until: float) -> None:
        """Wait until nothing has been asked for a while.

        Raises:
            _Late: it has come too late.
        """
        rest_s = YIELD_S
        while not self._closing:
            time.sleep(rest_s)
            now, rest_s = time.monotonic(), QUIET_S
            if now > until:
                raise _Late
            is_answering = self._began > self._ended and now - self._began < ANSWER_S
            if not is_answering and now - self._ended >= QUIET_S:
                return
        raise _Late


def _shadowed(waiting: _Waiting) -> SlateRequest:
    """Return the request as the shadow answers it: by its own policy, with the seed of the slate that was served.

    What the client asked for instead of the policy's λ and ε stands.
    """
    request, shadow = waiting.request, waiting.shadow
    policies = waiting.world.control.of(POLICY)
    policy = policies[shadow.policy] if shadow.policy else shadow.policy_of(request.policy)
    asked = request.as_asked
    slots = policy.slots_of(request.surface, diversity=asked.get("diversity"), epsilon=asked.get("exploration"))
    shadow_id = f"{request.recommendation_id}~{shadow.policy or shadow.model}"
    return replace(request, recommendation_id=shadow_id, policy=policy, slots=slots)


class _Stages:
    """Microseconds per stage, without what was waited between them."""

    def __init__(self, rest: Callable[[], None]) -> None:
        self.us: dict[str, float] = {}
        self._rest = rest
        rest()
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        self.us[stage] = round((time.perf_counter() - self._last) * 1e6, 1)
        self._rest()
        self._last = time.perf_counter()
