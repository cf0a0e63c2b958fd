"""The thread that keeps a worker's world up to date: catalogue, items, sessions, control, vectors, blend, ranker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import msgspec

from online.control.control import Key
from online.core.catalogue import CATALOGUE_VIEW, ITEM_DOCUMENT, ITEMS
from online.core.checkpoint import decode_checkpoint
from online.core.control import CONTROL, CONTROL_ENTRY, CONTROL_VIEW, ControlEntry, decode_entry
from online.core.expiry import ITEM_EXPIRY_S, is_over
from online.core.item_stats import decode_item_stats
from online.core.partition import ITEM
from online.core.update import UPDATES, decode_update
from online.ports import (
    START,
    Artifact,
    ArtifactStore,
    Batch,
    CorruptArtifact,
    EventLog,
    Position,
    StateStore,
    Unavailable,
)
from online.vectors import Vectors
from online.warmup import warm_up
from online.world import BLEND, RANKER, VECTORS, World, served_blend, served_ranker, served_rankers
from schemas.control import decode_change
from schemas.item import decode_item

from .contact import Applied, Contact

logger = logging.getLogger(__name__)

WAIT_S = 0.25
REFRESH_MIN_S, REFRESH_S = 0.05, 1.0  # between toplists, of few items and of very many
REFRESH_SHARE = 0.05  # of this thread's time at most goes into toplists, up to `REFRESH_S`
FADE_S = 60.0  # between toplists while nothing changes but the time
ARTIFACTS_S = 0.5  # between looks for new versions
RETRY_S = 0.5
UNHEARD_S = 0.01  # between announcements while the store does not take one

_UNSOUND = (CorruptArtifact, ValueError, KeyError, EOFError, OSError, msgspec.MsgspecError)
"""What opening an artifact that is damaged, or is not what its name says, raises."""


@contextmanager
def _skipping(what: str) -> Iterator[None]:
    """Log and skip what cannot be decoded: one bad message must not keep a worker from the others."""
    try:
        yield
    except msgspec.MsgspecError as error:
        logger.error("skipping %s: %s", what, error)


class Follower:
    """Loads a snapshot of the shared views, then follows the log for ever."""

    def __init__(
        self,
        world: World,
        *,
        open_log: Callable[[], EventLog],
        state: StateStore,
        artifacts: ArtifactStore,
        open_vectors: Callable[[Artifact], Vectors],
        partitions: int,
        clock: Callable[[], float],
        contact: Contact,
        refused: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._world, self._open_log, self._state = world, open_log, state
        self._artifacts, self._open_vectors = artifacts, open_vectors
        self._partitions, self._clock, self._contact = partitions, clock, contact
        self._after: dict[tuple[str, int], str] = {}
        self._refused: dict[str, int] = {}  # artifact -> the version not to be opened again
        self._tell_refused = refused
        self._closing = Event()
        self.at_head = Event()
        self._thread = Thread(target=self._run, name="follower", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Say whether the thread runs."""
        return self._thread.is_alive()

    @property
    def applied(self) -> Applied:
        """Up to where the topics are applied that say what may be shown, and how."""
        return {topic: self._after.get((topic, 0), START) for topic in (CONTROL, ITEMS)}

    def start(self) -> None:
        """Start the thread; `at_head` is set once the world is as new as the log was at some moment since."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        warm_up()
        loaded = False
        while not self._closing.is_set():
            try:
                if not loaded:
                    self._load()
                    loaded = True
                self._follow(self._open_log())
            except Unavailable as error:
                logger.warning("cannot follow the log yet: %s", error)
                self._closing.wait(RETRY_S)

    def _load(self) -> None:
        """Load what the state store holds; messages behind it are applied again, which changes nothing."""
        checkpoint = decode_checkpoint(self._state.checkpoint(CATALOGUE_VIEW, 0))
        table = self._world.table
        for item_id, payload in self._state.scan(0, ITEM_DOCUMENT):
            with _skipping(f"item {item_id}"):
                table.put(decode_item(payload))
        for partition in range(self._partitions):
            for item_id, payload in self._state.scan(partition, ITEM):
                with _skipping(f"statistics of {item_id}"):
                    stats = decode_item_stats(payload)
                    if not is_over(stats.received, self._clock(), ITEM_EXPIRY_S):
                        table.put_statistics(partition, item_id, stats)
        control = self._load_control()
        self._after = {
            (ITEMS, 0): checkpoint.positions.get(ITEMS, START),
            (UPDATES, 0): START,
            (CONTROL, 0): control,
        }

    def _load_control(self) -> Position:
        at = decode_checkpoint(self._state.checkpoint(CONTROL_VIEW, 0)).positions.get(CONTROL, START)
        entries: dict[Key, ControlEntry] = {}
        for key, payload in self._state.scan(0, CONTROL_ENTRY):
            kind, _, document_id = key.partition("/")
            with _skipping(f"control document {key}"):
                entries[kind, document_id] = decode_entry(payload)
        self._world.control = self._world.control.loaded(entries.items(), at)
        return at

    def _follow(self, log: EventLog) -> None:
        toplists = _Toplists(self._world, self._clock)
        looked = 0.0
        try:
            while not self._closing.is_set():
                is_settled = self.at_head.is_set() and not self._contact.is_joining
                wait_s = UNHEARD_S if self._contact.is_unheard else toplists.wait_s
                batches = log.read(self._after, max_messages=500, wait_s=wait_s if is_settled else 0.0)
                for batch in batches:
                    self._apply(batch)
                self._world.rule_set.columns.build(self._world.table)
                if not batches and not is_settled:
                    self._contact.reached_head()
                if not batches or self.at_head.is_set():  # nobody is to wait for a worker that does not serve yet
                    self._contact.beat(self.applied)
                if time.monotonic() - looked > ARTIFACTS_S:
                    self._swap()
                    looked = time.monotonic()
                toplists.refresh_when_due()
                if not batches and not self.at_head.is_set():
                    toplists.refresh()
                    self.at_head.set()
        finally:
            log.close()

    def _apply(self, batch: Batch) -> None:
        items = []
        for message in batch.messages:
            with _skipping(f"{batch.topic} {message.position}"):
                if batch.topic == ITEMS:
                    items.append(decode_item(message.payload))
                elif batch.topic == CONTROL:
                    change = decode_change(message.payload)
                    self._world.install(self._world.control.applied(change, message.position))
                else:
                    self._world.apply(decode_update(message.payload))
        self._world.put(items)
        self._after[batch.topic, batch.partition] = batch.messages[-1].position

    def _swap(self) -> None:
        """Open newer versions of the artifacts; on doubt the running ones keep serving."""
        for name, running, install in (
            (VECTORS, self._world.vectors.version if self._world.vectors else 0, self._install_vectors),
            (RANKER, self._world.ranker_version, self._install_ranker),
            (BLEND, self._world.blend_version, self._install_blend),
        ):
            newest = self._latest(name)
            if newest <= max(running, self._refused.get(name, 0)):
                continue
            try:
                artifact = self._artifacts.open(name, newest)
                if artifact is not None:
                    install(artifact)
                    logger.info("serving %s %d", name, newest)
            except _UNSOUND as error:
                self._refused[name] = newest
                self._tell_refused(name)
                logger.error("refusing %s %d: %s", name, newest, error)

    def _latest(self, name: str) -> int:
        try:
            return self._artifacts.latest(name) or 0
        except (CorruptArtifact, OSError) as error:
            logger.error("cannot look for newer %s: %s", name, error)
            return 0

    def _install_vectors(self, artifact: Artifact) -> None:
        self._world.vectors = self._open_vectors(artifact).placed(self._world.table.ids)

    def _install_ranker(self, artifact: Artifact) -> None:
        ranker, rankers = served_ranker(artifact), served_rankers(artifact)  # both first: a bad one changes nothing
        self._world.ranker, self._world.rankers, self._world.ranker_version = ranker, rankers, artifact.version

    def _install_blend(self, artifact: Artifact) -> None:
        self._world.blend, self._world.blend_version = served_blend(artifact), artifact.version


class _Toplists:
    """Recomputes the toplists soon after a change, but in a bounded share of the time."""

    def __init__(self, world: World, clock: Callable[[], float]) -> None:
        self._world, self._clock = world, clock
        self._version = -1  # of the table, when they were computed
        self._refreshed = self._pause = 0.0

    @property
    def wait_s(self) -> float:
        """How long the follower may wait for a message."""
        return WAIT_S if self._world.table.version == self._version else min(WAIT_S, self._pause)

    def refresh_when_due(self) -> None:
        """Refresh after a change, or as time has passed."""
        pause = FADE_S if self._world.table.version == self._version else self._pause
        if time.monotonic() - self._refreshed > pause:
            self.refresh()

    def refresh(self) -> None:
        """Recompute them now."""
        began, self._version = time.monotonic(), self._world.table.version
        self._world.refresh(self._clock())
        self._refreshed = time.monotonic()
        self._pause = min(REFRESH_S, max(REFRESH_MIN_S, (self._refreshed - began) / REFRESH_SHARE))
