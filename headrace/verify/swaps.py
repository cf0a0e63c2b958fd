"""`headrace verify swaps`: publish item vectors again and again while slates are asked for; check every slate.

Each edition has other vectors under other labels, so that a slate that mixed two of them, or came from one that should
have been refused, has scores that its own version does not give.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import numpy as np

from headrace.bench import load as bench_load
from headrace.bench.measure import quantiles, resident_mb
from headrace.bench.rig import Rig, rig
from headrace.bench.serve import load_history
from headrace.bench.stream import Stream
from headrace.verify.published import Edition
from headrace.verify.publisher import DAMAGED_EVERY, Publisher
from online.connect import open_log
from online.core.join import SLATES
from online.core.known import complete, known
from online.core.partition import USER
from online.core.record import UserRecord
from online.core.slate_features import slate_features
from online.models.item_vectors import INDEX_FILE
from online.ports import START
from online.vectors import Vectors
from online.world import VECTORS
from schemas.slate import Slate, decode_slate

EDITIONS = 4
TOLERANCE = 0.01  # of a cosine: editions have nothing in common, and a graph may hold rounded vectors
CONNECTIONS = 64
WARM_UP_S = 2.0


@dataclass
class Outcome:
    """What came of the swaps.

    `errors` counts requests without a slate, `wrong` slates that do not follow from the version they name, `taken`
    damaged versions that a worker served, `still_mapped` index files that workers hold at the end beside the one they
    serve: all of these must be 0. The ratio is of the p99 during swaps to that of the quiet time before; memory is that
    of all workers together, `swap_ms` the time until the last of them served a version.
    """

    swaps: int = 0
    refused: int = 0
    taken: int = 0
    rate: float = 0.0
    workers: int = 0
    requests: int = 0
    errors: int = 0
    slates: int = 0
    versions: int = 0
    wrong: int = 0
    wrong_examples: list[str] = field(default_factory=list)
    quiet_p50_ms: float | None = None
    quiet_p99_ms: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    p99_ratio: float | None = None
    swap_ms: float = 0.0
    rss_before_mb: float = 0.0
    rss_most_mb: float = 0.0
    rss_after_mb: float = 0.0
    still_mapped: int = 0
    items: int = 0
    seed: int = 0
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether every request got a slate, every slate was right, and nothing was taken that is damaged."""
        return self.slates > 0 and self.errors + self.wrong + self.taken + self.still_mapped == 0


def verify_swaps(
    *,
    swaps: int,
    rate: float,
    workers: int = 2,
    items: int = 10_000,
    users: int = 2000,
    quiet_s: float = 10.0,
    seed: int = 1,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> Outcome:
    """Publish `swaps` sound versions, and a damaged one after every fifth, under `rate` requests per second."""
    began = time.monotonic()
    outcome = Outcome(rate=rate, workers=workers, items=items, seed=seed)
    with rig(flows=("state",), api=True, api_workers=workers) as whole:
        progress(0, f"loading {items} items")
        stream = Stream(users=users, items=items, seed=seed)
        asking = load_history(whole, stream, 10 * users)
        ids = [item.item_id for item in stream.catalogue(0.0)]
        editions = [Edition(ids, seed + number) for number in range(EDITIONS)]
        publisher = Publisher(whole, editions)
        publisher.publish()
        load = bench_load.Load(
            host=whole.settings.host,
            port=whole.settings.port,
            kind="slates",
            seconds=3600.0,
            connections=CONNECTIONS,
            rate=rate,
            user_ids=asking,
            seed=seed,
        )
        with _Checker(whole, publisher.served) as checker:
            _run(load, WARM_UP_S)
            progress(0, f"quiet for {quiet_s:g} s")
            quiet = _run(load, quiet_s)
            outcome.rss_before_mb = _resident_mb(whole)
            swapping = _swap(outcome, whole, publisher, load, swaps, progress)
            outcome.rss_after_mb = _resident_mb(whole)
            outcome.still_mapped = sum(len(_mapped(worker)) - 1 for worker in whole.api_groups)
            progress(swaps, "checking")
        checker.tell(outcome)
    _compare(outcome, quiet, swapping)
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


def _run(load: bench_load.Load, seconds: float) -> bench_load.Outcome:
    with bench_load.running(load) as process:
        assert process is not None
        time.sleep(seconds)
        return process.result(now=True)


def _resident_mb(whole: Rig) -> float:
    return round(sum(resident_mb(worker) for worker in whole.api_groups), 1)


def _swap(
    outcome: Outcome,
    whole: Rig,
    publisher: Publisher,
    load: bench_load.Load,
    swaps: int,
    progress: Callable[[int, str], None],
) -> bench_load.Outcome:
    took: list[float] = []
    with bench_load.running(load) as process:
        assert process is not None
        for number in range(swaps):
            if number % DAMAGED_EVERY == DAMAGED_EVERY - 1:
                outcome.taken += not publisher.is_damaged_refused()
                outcome.refused += 1
            took.append(publisher.publish())
            outcome.rss_most_mb = max(outcome.rss_most_mb, _resident_mb(whole))
            progress(number + 1, "swapping")
        result = process.result(now=True)
    outcome.swaps, outcome.swap_ms = swaps, round(statistics.median(took) * 1000.0, 1)
    outcome.refused -= outcome.taken
    return result


def _compare(outcome: Outcome, quiet: bench_load.Outcome, swapping: bench_load.Outcome) -> None:
    outcome.requests, outcome.errors = quiet.sent + swapping.sent, quiet.errors + swapping.errors
    outcome.quiet_p50_ms, outcome.quiet_p99_ms = quantiles(quiet.latencies_ms, 50, 99).values()
    outcome.p50_ms, outcome.p99_ms = quantiles(swapping.latencies_ms, 50, 99).values()
    if outcome.p99_ms and outcome.quiet_p99_ms:
        outcome.p99_ratio = round(outcome.p99_ms / outcome.quiet_p99_ms, 2)


class _Checker:
    """Reads the slates from the log as they come, checks each, and trims them away."""

    def __init__(self, whole: Rig, served: Mapping[int, Vectors]) -> None:
        self._log, self._served = open_log(whole.settings.log), served
        self._after = {(SLATES, p): whole.log.extent(SLATES, p).last or START for p in range(whole.partitions)}
        self._records = {
            key: known(payload, 0.0) for p in range(whole.partitions) for key, payload in whole.state.scan(p, USER)
        }
        self._ended = Event()
        self._thread = Thread(target=self._run, name="checker", daemon=True)
        self._slates, self._versions, self._wrong = 0, set[int](), list[str]()

    def __enter__(self) -> _Checker:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()
        self._log.close()

    def _run(self) -> None:
        while True:
            is_last = self._ended.is_set()
            batches = self._log.read(self._after, max_messages=500, wait_s=0.2)
            for batch in batches:
                for message in batch.messages:
                    self._check(decode_slate(message.payload))
                self._after[batch.topic, batch.partition] = batch.messages[-1].position
                self._log.trim(batch.topic, batch.partition, batch.messages[-1].position)
            if is_last and not batches:
                return

    def _check(self, slate: Slate) -> None:
        self._slates += 1
        self._versions.add(slate.index_version)
        was_read = bool(slate.record_position)  # not when the store did not answer in time
        record = (self._records[slate.user_key] if was_read and slate.user_key else None) or UserRecord()
        complaint = complaint_about(slate, self._served, record)
        if complaint:
            self._wrong.append(f"{slate.recommendation_id}: {complaint}")

    def tell(self, outcome: Outcome) -> None:
        """Add what was found."""
        outcome.slates, outcome.versions = self._slates, len(self._versions)
        outcome.wrong, outcome.wrong_examples = len(self._wrong), self._wrong[:5]


def complaint_about(slate: Slate, served: Mapping[int, Vectors], record: UserRecord) -> str:
    """Say what is wrong with the items that a slate has by its vectors; nothing for a slate that is right."""
    vectors = served.get(slate.index_version)
    if vectors is None:
        return f"vectors {slate.index_version} were never to be served"
    found = [i for i in range(len(slate.candidates)) if VECTORS in slate.sources_of(i)]
    direction = vectors.query(complete(record), slate.session_items)
    if direction is None:
        return f"{len(found)} items without a query" if found else ""
    if not found:
        return "0 items by a query that has a direction"
    column = slate.feature_names.index("vectors_score")
    scores = slate_features(slate)[found, column]
    expected = vectors.matrix[[vectors.labels[slate.candidates[i]] for i in found]] @ direction
    worst = float(np.abs(scores - expected).max())
    return f"a score is {worst:.3f} off that of vectors {slate.index_version}" if worst > TOLERANCE else ""


def _mapped(pid: int) -> set[str]:
    """Return the inodes of the index files that a process has mapped, removed ones too."""
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    return {line.split()[4] for line in lines if INDEX_FILE in line}
