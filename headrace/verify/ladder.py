"""`headrace verify ladder`: break one thing after the other while slates are asked for and events are told.

Two API workers stand behind proxies to their state store and log, each a Valkey of its own. Whatever is broken, every
request for a slate must get one, with the rung named when it is not the personal one; what was answered and
acknowledged meanwhile is counted at the end. A client sends once more what its connection broke amid, as every client
of HTTP does over a connection that was kept open.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain

from headrace.bench.measure import quantiles
from headrace.bench.rig import wait_until
from headrace.system import api_url
from headrace.verify.account import event_losses, slate_losses, until_archived, until_folded
from headrace.verify.asking import Answer, Asker, Scheduled, Teller
from headrace.verify.drain import spool_is_empty
from headrace.verify.faults import ITEMS, publish_ranker, publish_vectors, trials, until_all_serve
from headrace.verify.proxied import WORKERS, Proxied, proxied_system
from headrace.verify.rollback import connections
from online.core.join import SLATES
from online.core.partition import EVENTS
from replay.http_system import HttpSystem

USERS, CLICKS = 100, 3
ASKERS, TELLERS = 4, 1  # of each worker
TELLS_PER_S = 20.0  # requests of events, all together
QUIET_S = 1.0  # after what is broken last is mended
IN_A_ROW = 5  # answers as usual, until a client is called normal again
P99_MS, NORMAL_S = 50.0, 2.0


@dataclass
class Figures:
    """What one thing that was broken came to; `errors` and `unnamed` must be 0.

    `unnamed` slates are below the personal rung without saying why; `rungs` and `why` (the commonest) are of the slates
    asked for while it lasted, and so are all times. `normal_after_s` is when, after it was mended, the spools
    were empty and the last client was answered as usual, several times in a row.
    """

    name: str
    slates: int = 0
    errors: int = 0
    error: str = ""
    unnamed: int = 0
    rungs: dict[str, int] = field(default_factory=dict)
    why: str = ""
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    normal_after_s: float = 0.0
    tells: int = 0
    tell_errors: int = 0
    tell_p99_ms: float | None = None
    is_in_time: bool = True


@dataclass
class Outcome:
    """What came of it; what is in `errors`, `lost` and `doubled` must be 0."""

    faults: list[Figures] = field(default_factory=list)
    seconds: float = 0.0
    rate: float = 0.0
    workers: int = WORKERS
    slates: int = 0
    events: int = 0
    errors: int = 0
    slates_lost: int = 0
    slates_doubled: int = 0
    events_lost: int = 0
    events_doubled: int = 0
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether everything was answered, and named, and kept once; never for a time."""
        lost = self.slates_lost + self.slates_doubled + self.events_lost + self.events_doubled
        return bool(self.faults) and lost + self.errors + sum(one.unnamed for one in self.faults) == 0


def verify_ladder(
    *,
    names: Sequence[str] = (),
    seconds: float = 3.0,
    rate: float = 100.0,
    seed: int = 1,
    progress: Callable[[int, str], None] = lambda done, name: None,
) -> Outcome:
    """Break what is named, by default everything in turn, for `seconds` each, under `rate` requests per second.

    Raises:
        Unavailable: something does not start, or does not come back.
    """
    began, outcome = time.monotonic(), Outcome(seconds=seconds, rate=rate)
    known = trials()
    with proxied_system() as system:
        progress(0, "starting")
        _prepare(system)
        with _clients(system, rate, seed) as (askers, tellers):
            _until_normal(system, [*askers, *tellers], time.monotonic())
            for done, name in enumerate(names or known):
                progress(done, name)
                begin = time.monotonic()
                known[name].begin(system)
                time.sleep(seconds)
                known[name].end(system)
                end = time.monotonic()
                normal = _until_normal(system, [*askers, *tellers], end)
                outcome.faults.append(figures(name, _answers(askers), _answers(tellers), begin, end, normal))
                time.sleep(QUIET_S)
        progress(len(outcome.faults), "counting")
        _account(outcome, system, askers, tellers)
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


def _prepare(system: Proxied) -> None:
    """Load a catalogue, users with some clicks, vectors and a ranker."""
    publish_vectors(system)
    publish_ranker(system)
    until_all_serve(system)
    api = HttpSystem(api_url(system.rig.settings))
    rows = [{"item_id": f"item-{n}", "categories": [f"c{n % 23}"], "brand": f"b{n % 57}"} for n in range(ITEMS)]
    api.call("POST", "/v1/items:batch", {"items": rows})
    clicks = [
        {"event_type": "click", "user_id": f"user-{user}", "item_id": f"item-{(7 * user + 31 * n) % ITEMS}"}
        for user in range(USERS)
        for n in range(CLICKS)
    ]
    api.call("POST", "/v1/events", {"events": clicks})
    api.close()
    until_folded(system.rig)


@contextmanager
def _clients(system: Proxied, rate: float, seed: int) -> Iterator[tuple[list[Asker], list[Teller]]]:
    """Let clients of every worker ask and tell while the block runs."""
    with ExitStack() as stack:
        by_worker = connections(api_url(system.rig.settings), ASKERS + TELLERS, stack)
        asks_s, tells_s = WORKERS * ASKERS / rate, WORKERS * TELLERS / TELLS_PER_S
        askers = [
            Asker(f"{worker}-{n}", one, period_s=asks_s, users=USERS, seed=seed)
            for worker, opened in by_worker.items()
            for n, one in enumerate(opened[:ASKERS])
        ]
        tellers = [
            Teller(f"{worker}-{n}", one, period_s=tells_s, users=USERS, seed=seed)
            for worker, opened in by_worker.items()
            for n, one in enumerate(opened[ASKERS:])
        ]
        for client in (*askers, *tellers):
            client.start()
            stack.callback(client.end)
        yield askers, tellers


def _until_normal(system: Proxied, clients: Sequence[Scheduled], end: float) -> float:
    """Wait until nothing waits in a spool and every client is answered as usual; return since when that is so."""
    wait_until(lambda: spool_is_empty(system.rig.settings.data_dir / "spool"), "the spools are not shipped")
    emptied = time.monotonic()

    def since() -> list[float | None]:
        return [usual_since(one for one in client.answers if one.due >= end) for client in clients]

    wait_until(lambda: None not in since(), "not every client is answered as usual again", every_s=0.05)
    return max([emptied, *(moment for moment in since() if moment is not None)])


def usual_since(answers: Iterable[Answer]) -> float | None:
    """Return when the first of `IN_A_ROW` answers came that are as usual; None before there are so many.

    >>> usual_since([Answer(0.0, 0.5, error="gone"), *[Answer(float(n), n + 0.5) for n in range(1, 9)]])
    1.5
    """
    row: list[Answer] = []
    for one in answers:
        row = [] if one.error or one.rung not in ("", "personal") else [*row, one]
        if len(row) == IN_A_ROW:
            return row[0].received
    return None


def _answers(clients: Sequence[Scheduled]) -> list[Answer]:
    return [one for client in clients for one in client.answers]


def figures(
    name: str, answers: Sequence[Answer], tellings: Sequence[Answer], begin: float, end: float, normal: float
) -> Figures:
    """Return what came of requests for slates and of events, of all times, while something was broken and after it."""
    asked, told = ([one for one in some if begin <= one.due] for some in (answers, tellings))
    during = [one for one in asked if one.due < end]
    found = Figures(
        name,
        slates=len(during),
        errors=sum(bool(one.error) for one in asked),
        error=_commonest(one.error for one in (*asked, *told)),
        unnamed=sum(one.rung != "personal" and not one.why for one in asked if not one.error),
        rungs=dict(Counter(one.rung for one in during if not one.error)),
        why=_commonest(one.why for one in during),
        normal_after_s=round(normal - end, 3),
        tells=len(told),
        tell_errors=sum(bool(one.error) for one in told),
    )
    found.p50_ms, found.p99_ms = quantiles([one.latency_ms for one in during], 50, 99).values()
    found.max_ms = round(max((one.latency_ms for one in during), default=0.0), 2)
    (found.tell_p99_ms,) = quantiles([one.latency_ms for one in told if one.due < end], 99).values()
    found.is_in_time = (found.p99_ms or 0.0) <= P99_MS and found.normal_after_s <= NORMAL_S
    return found


def _commonest(said: Iterable[str]) -> str:
    found = Counter(filter(None, said)).most_common(1)
    return found[0][0] if found else ""


def _account(outcome: Outcome, system: Proxied, askers: Sequence[Asker], tellers: Sequence[Teller]) -> None:
    """Count what was answered and acknowledged, from the first request to the last."""
    asked, told = _answers(askers), _answers(tellers)
    outcome.slates, outcome.events = len(asked), sum(len(one.told) for one in told)
    outcome.errors = sum(bool(one.error) for one in (*asked, *told))
    until_folded(system.rig)
    until_archived(system.rig, (EVENTS, SLATES))
    ids = set(chain.from_iterable(one.told for one in told))
    outcome.events_lost, outcome.events_doubled = event_losses(system.rig, ids)
    slates = {one.slate for one in asked if not one.error}
    outcome.slates_lost, outcome.slates_doubled = slate_losses(system.rig, slates)
