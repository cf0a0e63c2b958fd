"""`headrace verify rollback`: change policies and take items down under load, and look for answers of before.

Two workers answer; each is asked without a pause, so that there is always a request about when something is
acknowledged. What counts is the time of the clients: a request that was sent after an acknowledgement must be
answered by what was acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from threading import Event, Thread
from typing import NamedTuple

from headrace.bench.measure import quantiles
from headrace.bench.rig import PATIENCE_S, rig
from headrace.system import api_url
from online.ports import Unavailable
from replay.http_system import HttpSystem

WORKERS, WATCHERS = 2, 2  # watchers of each worker
ITEMS, SLOTS = 40, 20
POLICY = "personal-1"
NEVER = float("inf")


class Change(NamedTuple):
    """What is to be seen from a change on: asked for, acknowledged (`NEVER`: not by every worker), what."""

    asked: float
    acknowledged: float
    version: int


class Absence(NamedTuple):
    """An item that must not be shown between the acknowledgement of its takedown and its coming back."""

    acknowledged: float
    back: float
    item_id: str


class Seen(NamedTuple):
    """An answer: when it was asked for and had, by which worker, the policy's version, the items."""

    sent: float
    received: float
    worker: str
    version: int
    items: frozenset[str]


@dataclass
class Outcome:
    """What came of it.

    Times are from the call to its acknowledgement. `lagging` counts calls that not every worker applied within a
    second. `wrong_policy` and `wrong_item` count answers, to requests sent after an acknowledgement, that show what was
    before: both must be 0.
    """

    rollbacks: int = 0
    workers: list[str] = field(default_factory=list)
    rollback_p50_ms: float | None = None
    rollback_p99_ms: float | None = None
    rollback_max_ms: float | None = None
    takedown_p50_ms: float | None = None
    takedown_p99_ms: float | None = None
    takedown_max_ms: float | None = None
    lagging: int = 0
    answers: int = 0
    answers_per_worker: dict[str, int] = field(default_factory=dict)
    errors: int = 0
    wrong_policy: int = 0
    wrong_item: int = 0
    wrong_examples: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether every worker answered, and never by what was before an acknowledgement."""
        return len(self.answers_per_worker) == WORKERS and self.wrong_policy + self.wrong_item + self.errors == 0


def verify_rollback(*, rollbacks: int, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    """Write a version, roll it back, take an item down and bring it back, again and again.

    Raises:
        Unavailable: not all workers can be reached.
    """
    began, outcome = time.monotonic(), Outcome(rollbacks=rollbacks)
    with rig(flows=("state",), api=True, api_workers=WORKERS) as whole, ExitStack() as stack:
        url = api_url(whole.settings)
        by_worker = connections(url, WATCHERS + 1, stack)
        operators = cycle([opened[0] for _, opened in sorted(by_worker.items())])
        rows = [{"item_id": f"item-{n}", "categories": [f"c{n % 5}"]} for n in range(ITEMS)]
        next(operators).call("POST", "/v1/items:batch", {"items": rows})
        outcome.workers = sorted(by_worker)
        with watched(by_worker) as watchers:
            changes, absences = _changed(operators, rollbacks, outcome, progress)
        seen = [answer for watcher in watchers for answer in watcher.seen]
        outcome.errors = sum(watcher.errors for watcher in watchers)
    outcome.answers = len(seen)
    outcome.answers_per_worker = {name: sum(one.worker == name for one in seen) for name in outcome.workers}
    tell_wrong(outcome, seen, changes, absences)
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


def connections(url: str, each: int, stack: ExitStack) -> dict[str, list[HttpSystem]]:
    """Return so many open connections to each worker, by its name: the kernel deals connections out to workers.

    Raises:
        Unavailable: some worker is never reached.
    """
    found: dict[str, list[HttpSystem]] = {}
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < WORKERS or min(map(len, found.values())) < each:
        if time.monotonic() > deadline:
            raise Unavailable(f"only {', '.join(found) or 'nobody'} answers of {WORKERS} workers")
        connection = stack.enter_context(closing(HttpSystem(url)))
        name = connection.call("GET", "/health/ready")[1]["worker"]
        if len(found.setdefault(name, [])) < each:
            found[name].append(connection)
        else:
            connection.close()
    return found


class Watcher(Thread):
    """Asks one worker for slates, one after the other, and notes the answers."""

    def __init__(self, worker: str, connection: HttpSystem, user: str) -> None:
        super().__init__(name=f"watcher of {worker}", daemon=True)
        self.seen: list[Seen] = []
        self.errors = 0
        self._worker, self._connection = worker, connection
        self._ask = {"user_id": user, "n": SLOTS, "exploration": 1.0}
        self.ended = Event()

    def run(self) -> None:
        while not self.ended.is_set():
            sent = time.monotonic()
            try:
                _, slate = self._connection.call("POST", "/v1/recommendations", self._ask)
            except Unavailable:
                self.errors += 1
                continue
            items = frozenset(item["item_id"] for item in slate["items"])
            self.seen.append(Seen(sent, time.monotonic(), self._worker, slate["policy_version"], items))


@contextmanager
def watched(by_worker: dict[str, list[HttpSystem]]) -> Iterator[Sequence[Watcher]]:
    """Have every worker asked by all of its connections but the first."""
    watchers = [
        Watcher(name, connection, f"{name}-{n}")
        for name, opened in by_worker.items()
        for n, connection in enumerate(opened[1:])
    ]
    for watcher in watchers:
        watcher.start()
    try:
        yield watchers
    finally:
        for watcher in watchers:
            watcher.ended.set()
        for watcher in watchers:
            watcher.join()


def _changed(
    operators: Iterator[HttpSystem], rollbacks: int, outcome: Outcome, progress: Callable[[int], None]
) -> tuple[list[Change], list[Absence]]:
    changes, absences = [Change(0.0, 0.0, 1)], []
    rollbacks_ms: list[float] = []
    takedowns_ms: list[float] = []
    for done in range(rollbacks):
        changes.append(_change(next(operators), "PUT", f"/v1/policies/{POLICY}", {"tau": 0.25 + done / 1000}))
        changes.append(_change(next(operators), "POST", f"/v1/policies/{POLICY}:rollback", {}))
        rollbacks_ms.append((changes[-1].acknowledged - changes[-1].asked) * 1000.0)
        item = f"item-{done % ITEMS}"
        asked, acknowledged = _item(next(operators), item, available=False)
        takedowns_ms.append((acknowledged - asked) * 1000.0)
        time.sleep(0.01)  # some answers without the item
        absences.append(Absence(acknowledged, _item(next(operators), item, available=True)[0], item))
        progress(done + 1)
    outcome.lagging = sum(change.acknowledged == NEVER for change in changes) + takedowns_ms.count(NEVER)
    kept, gone = ([ms for ms in times if ms != NEVER] for times in (rollbacks_ms, takedowns_ms))
    outcome.rollback_p50_ms, outcome.rollback_p99_ms = quantiles(kept, 50, 99).values()
    outcome.takedown_p50_ms, outcome.takedown_p99_ms = quantiles(gone, 50, 99).values()
    outcome.rollback_max_ms, outcome.takedown_max_ms = (round(max(ms), 2) if ms else None for ms in (kept, gone))
    return changes, absences


def _change(operator: HttpSystem, method: str, path: str, document: dict[str, object]) -> Change:
    asked = time.monotonic()
    status, answer = operator.call(method, path, document)
    return Change(asked, time.monotonic() if status == 200 else NEVER, answer["version"])


def _item(operator: HttpSystem, item_id: str, *, available: bool) -> tuple[float, float]:
    asked = time.monotonic()
    status, _ = operator.call("PATCH", f"/v1/items/{item_id}", {"available": available})
    return asked, time.monotonic() if status == 200 else NEVER


def tell_wrong(outcome: Outcome, seen: Sequence[Seen], changes: Sequence[Change], absences: Sequence[Absence]) -> None:
    """Fill in which answers show what was before an acknowledgement that came before their request."""
    for answer in seen:
        if answer.version not in allowed(answer, changes):
            outcome.wrong_policy += 1
            outcome.wrong_examples.append(f"{answer.worker}: version {answer.version}, {answer.sent:.4f} s")
        down = {one.item_id for one in absences if one.acknowledged <= answer.sent and answer.received <= one.back}
        if down & answer.items:
            outcome.wrong_item += 1
            outcome.wrong_examples.append(f"{answer.worker}: {', '.join(down & answer.items)}, {answer.sent:.4f} s")
    del outcome.wrong_examples[5:]


def allowed(answer: Seen, changes: Sequence[Change]) -> set[int]:
    """Return the versions that an answer may have: the last one acknowledged before its request, and later ones.

    >>> changes = [Change(0.0, 0.0, 1), Change(5.0, 6.0, 2), Change(9.0, 9.5, 1)]
    >>> [sorted(allowed(Seen(at, at + 0.5, "w", 0, frozenset()), changes)) for at in (4.0, 4.8, 6.5, 8.8)]
    [[1], [1, 2], [2], [1, 2]]
    """
    first = max(i for i, change in enumerate(changes) if change.acknowledged <= answer.sent)
    return {changes[first].version} | {one.version for one in changes[first:] if one.asked <= answer.received}
