"""Wait until everything that was acknowledged has been carried to the end: spools, views, archive, models."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.record import RECORD_VIEW, decode_record_checkpoint
from flows.state import STATE_VIEW
from flows.view import committed
from online.core.catalogue import CATALOGUE_VIEW, ITEMS
from online.core.control import CONTROL, CONTROL_VIEW
from online.core.dead_letter import DEAD, VERDICTS
from online.core.example import EXAMPLES
from online.core.join import JOIN_VIEW, SLATES
from online.core.letters import LETTERS_VIEW
from online.core.partition import EVENTS, USERS
from online.core.update import UPDATES
from online.ports import START, ArtifactStore, EventLog, StateStore, Unavailable
from online.world import BLEND, RANKER

PATIENCE_S = 180.0  # without any progress
LOOK_S, QUIET_LOOKS = 0.2, 5  # what a commit sends comes behind it, so looking once is not enough

Reader = tuple[str, str, int]
"""(view, topic, partition)."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The system that is watched. `spool` is the directory of the API's spools."""

    log: EventLog
    state: StateStore
    artifacts: ArtifactStore
    spool: Path
    partitions: int


def stalled(ports: Ports, *, patience_s: float = PATIENCE_S) -> Collection[Reader]:
    """Wait until nothing is left to do; return who gets no further for `patience_s`, which should be nobody."""
    before, until, quiet = _left(ports), time.monotonic() + patience_s, 0
    while quiet < QUIET_LOOKS:
        time.sleep(LOOK_S)
        left = _left(ports)
        quiet = 0 if left else quiet + 1
        if left != before:
            before, until = left, time.monotonic() + patience_s
        elif left and time.monotonic() > until:
            return left.keys()
    return ()


def until_joined(ports: Ports, is_stopped: Callable[[], bool]) -> None:
    """Wait until the join has folded everything acknowledged so far, or there is no need any more."""
    heads: dict[Reader, str] = {}
    while not is_stopped():
        try:
            if not heads and spool_is_empty(ports.spool):
                topics = [(topic, p) for topic in (EVENTS, SLATES) for p in range(ports.partitions)]
                heads = {(JOIN_VIEW, t, p): ports.log.extent(t, p).last for t, p in topics}
            if heads and all(committed(ports.state, *reader) >= head for reader, head in heads.items()):
                return
        except Unavailable:
            pass
        time.sleep(0.02)


def spool_is_empty(directory: Path) -> bool:
    """Say whether no API worker, dead or alive, keeps something that is not in the log yet."""
    return not any(_size(path) for path in directory.glob("*.spool"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # shipped and removed
        return 0


def _left(ports: Ports) -> Mapping[Reader, str]:
    """Return who has not read a topic's partition to its end, and up to where they have."""
    if not spool_is_empty(ports.spool):
        return {("api", "spool", 0): str(sum(map(_size, ports.spool.glob("*.spool"))))}
    try:
        return {(view, t, p): at for (view, t, p), at in _read(ports) if at < ports.log.extent(t, p).last}
    except Unavailable as error:
        return {("log or store", str(error), 0): ""}


def _read(ports: Ports) -> Iterator[tuple[Reader, str]]:
    everywhere = range(ports.partitions)
    views = {
        STATE_VIEW: ((EVENTS, USERS), everywhere),
        JOIN_VIEW: ((EVENTS, SLATES), everywhere),
        CATALOGUE_VIEW: ((ITEMS,), (0,)),
        LETTERS_VIEW: ((DEAD, VERDICTS), (0,)),
        CONTROL_VIEW: ((CONTROL,), (0,)),
    }
    for view, (topics, partitions) in views.items():
        yield from (((view, t, p), committed(ports.state, view, t, p)) for t in topics for p in partitions)
    for partition in everywhere:
        recorded = decode_record_checkpoint(ports.state.checkpoint(RECORD_VIEW, partition)).recorded
        single = () if partition else (ITEMS, EXAMPLES, DEAD, VERDICTS, CONTROL)
        topics = (EVENTS, USERS, SLATES, *single)
        yield from (((RECORD_VIEW, topic, partition), recorded.get(topic, START)) for topic in topics)
    for name, topic in ((RANKER, EXAMPLES), (BLEND, UPDATES)):
        model = ports.artifacts.open(name)
        yield (name, topic, 0), START if model is None else model.lineage["positions"][f"{topic}/0"]
