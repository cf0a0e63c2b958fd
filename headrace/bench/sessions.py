"""`headrace bench sessions`: what a click costs the session index, a query, and what the index takes of memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.bench.measure import headed, median, quantiles, resident_mb, spread
from online.models.sequential_rules import SequentialRulesConfig
from online.models.session_knn import SessionKnn, SessionKnnConfig

SESSION_ITEMS = 5  # of a query
LIMIT = 100
DEPTH = SequentialRulesConfig().depth  # of what is told of a click's session
GROUPS = 1000  # of items; a session stays in one
STRAY = 0.1  # of its clicks
OPEN_SESSIONS = 20_000  # that take turns
CHUNK = 250_000
SINGLES = 20_000

METHOD = (
    "Sessions of five clicks on average, each mostly within one of 1,000 groups of items popular by 1/(rank + 10), "
    "20,000 of them open at a time. update_us: CPU per click, learned many at a time with what its session clicked "
    "before, as a worker learns those of an update; update_one_us: the same, one click at a time. Queries: sessions of "
    "five items not learned, m = 500 sessions per item, k = 100 neighbours, 100 items returned; wall time of one "
    "thread. mb: the arrays of the index; rss_mb: what the process grew by."
)


def sessions(
    *,
    kept: int = 1_000_000,
    events: int = 5_000_000,
    items: int = 50_000,
    queries: int = 5000,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the session index.

    Args:
        kept: sessions the index keeps.
        events: clicks it learns.
        items: of the catalogue.
        queries: timed.
        seed: of sessions and queries.
        progress: told what is going on.
    """
    rng = np.random.default_rng(seed)
    _warm_up()
    before = resident_mb(os.getpid())
    knn = SessionKnn(SessionKnnConfig(sessions=kept, postings=500, neighbours=100))
    took: list[float] = []
    clock = 0.0
    for done in range(0, events, CHUNK):
        n = min(CHUNK, events - done)
        progress(f"{done} of {events} clicks")
        keys, rows = _clicks(done, n, items, rng)
        times = clock + np.cumsum(rng.exponential(0.02, n))
        clock = float(times[-1])
        began = time.process_time()
        knn.learn_many(keys, rows, times, DEPTH)
        took.append((time.process_time() - began) / n * 1e6)
    grown = resident_mb(os.getpid()) - before
    progress("queries")
    waits = _queries(knn, items, queries, clock, rng)
    document = {
        "sessions": knn.n_sessions,
        "events": events,
        "items": items,
        "update_us": median(took),
        "update_us_spread": spread(took),
        "update_one_us": _one_by_one(knn, events, items, clock, rng),
        **{f"query_{name}": value for name, value in quantiles(waits, 50, 99).items()},
        "mb": round(knn.bytes / 1e6, 1),
        "rss_mb": round(grown, 1),
    }
    return headed(METHOD, queries, document)


def _warm_up() -> None:
    """Have the kernels compiled, or their machine code loaded."""
    knn = SessionKnn(SessionKnnConfig(sessions=16))
    knn.learn_many(np.ones(2, np.uint64), np.arange(2, dtype=np.int32), np.zeros(2))
    knn.learn_one(1, 2, 0.0)
    knn.query(np.arange(2, dtype=np.int32), now=0.0, limit=1)


def _clicks(first: int, n: int, items: int, rng: np.random.Generator) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return session keys and item rows of the clicks numbered from `first` on.

    Sessions take turns: those open at a time are `OPEN_SESSIONS` consecutive ones, and on average five clicks old.
    """
    newest = (first + np.arange(n)) // SESSION_ITEMS
    session = newest + rng.integers(OPEN_SESSIONS, size=n)
    return session.astype(np.uint64), _items(session, items, rng)


def _items(session: NDArray[np.int64], items: int, rng: np.random.Generator) -> NDArray[np.int32]:
    per_group = max(1, items // GROUPS)
    popularity = np.cumsum(1.0 / (np.arange(per_group) + 10.0))
    rank = np.searchsorted(popularity[:-1], rng.random(len(session)) * popularity[-1])
    group = (session * 7919) % (items // per_group)
    stray = rng.random(len(session)) < STRAY
    return np.where(stray, rng.integers(items, size=len(session)), rank * (items // per_group) + group).astype(np.int32)


def _one_by_one(knn: SessionKnn, done: int, items: int, clock: float, rng: np.random.Generator) -> float:
    keys, rows = _clicks(done, SINGLES, items, rng)
    pairs = list(zip(keys.tolist(), rows.tolist(), strict=True))
    began = time.process_time()
    for key, row in pairs:
        knn.learn_many(np.array([key], np.uint64), np.array([row], np.int32), np.array([clock]), DEPTH)
    return round((time.process_time() - began) / len(pairs) * 1e6, 2)


def _queries(knn: SessionKnn, items: int, queries: int, now: float, rng: np.random.Generator) -> list[float]:
    """Return the milliseconds of each query."""
    asked = _items(np.repeat(rng.integers(10**9, size=queries), SESSION_ITEMS), items, rng).reshape(-1, SESSION_ITEMS)
    waits = []
    for session in asked:
        began = time.perf_counter()
        knn.query(session, now=now, limit=LIMIT)
        waits.append((time.perf_counter() - began) * 1000.0)
    return waits
