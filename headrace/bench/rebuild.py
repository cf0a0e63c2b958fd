"""`headrace bench rebuild`: how fast a recorded log is folded anew, and whether the views come out equal."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.record import RECORD_VIEW, decode_record_checkpoint
from headrace.bench.measure import headed, median, spread
from headrace.bench.rig import Rig, running, wait_until
from headrace.bench.stream import Stream, load_catalogue, load_events
from headrace.rebuild.run import rebuild_views
from headrace.settings import own_settings
from headrace.supervisor import free_port
from online.core.partition import EVENTS
from online.ports import START

ARCHIVED_SHARE = 0.5  # of the events are trimmed from the log once the archive has them
FLOWS = ("state", "record")

METHOD = (
    "A catalogue and a stream of events are appended to the log, folded by the state flow and archived by the record "
    f"flow; the log then forgets the first {ARCHIVED_SHARE:.0%} of the events, and everything is stopped. The rebuild "
    "starts the embedded services, folds every partition from the archive and then the log into memory, compares each "
    "record with the one that was there, byte for byte, and commits the rebuilt ones; events_per_s is messages by the "
    "wall time of all that, starting the services apart; median and [least, greatest] of the repeats."
)


def rebuild(
    *,
    events: int = 200_000,
    users: int = 5000,
    items: int = 10_000,
    repeats: int = 3,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure a rebuild of the state and catalogue views."""
    stream = Stream(users=users, items=items, seed=seed)
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        settings = own_settings(Path(directory) / "data", free_port())
        with running(settings, flows=FLOWS, warehouse=True) as whole:
            progress(f"folding and archiving {events} events")
            load_catalogue(whole.log, stream, time.time())
            first = load_events(whole.log, stream, int(events * ARCHIVED_SHARE), whole.partitions)
            last = load_events(whole.log, stream, events - int(events * ARCHIVED_SHARE), whole.partitions)
            whole.until_folded(last)
            whole.until_catalogued()
            wait_until(lambda: _is_archived(whole, last), "the record flow does not archive all events", every_s=0.1)
            for partition, position in first.items():
                whole.log.trim(EVENTS, partition, position)
        rebuilt = [rebuild_views(settings, from_start=True, progress=progress) for _ in range(repeats)]
    speeds = [document["events_per_s"] for document in rebuilt]
    document = {
        "events_per_s": median(speeds, 0),
        "events_per_s_spread": spread(speeds, 0),
        "equal": all(document["equal"] for document in rebuilt),
        "repeats": rebuilt,
        "users": users,
        "items": items,
    }
    return headed(METHOD, events, document)


def _is_archived(whole: Rig, last: dict[int, str]) -> bool:
    return all(
        decode_record_checkpoint(whole.state.checkpoint(RECORD_VIEW, p)).recorded.get(EVENTS, START) >= position
        for p, position in last.items()
    )
