"""The whole recommender in this process: the same folds and the same ranking path, without brokers or clocks.

Everything happens in the order of the calls and at the times they carry, so the same calls with the same seed give
the same records, models and slates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from online.core.catalogue import stamp
from online.core.checkpoint import Folded, apply_writes
from online.core.example import EXAMPLES, decode_example
from online.core.item_table import ItemTable
from online.core.join import SLATES, JoinFold
from online.core.known import known
from online.core.partition import EVENTS, USER, PartitionFold, partition_of
from online.core.record import UserRecord
from online.core.update import UPDATES, decode_update
from online.models.candidates import Candidates
from online.models.item_factors import ItemFactorsConfig
from online.models.item_vectors import ItemVectors
from online.models.session_updates import SessionUpdates
from online.models.side_by_side import SIDE_BY_SIDE
from online.pipeline import recommend
from online.ports import Batch, Message, VectorIndex
from online.request import look_up, resolve
from online.vectors import Vectors
from online.world import World
from schemas.event import EventIn, accept, encode_event
from schemas.item import ItemIn, accept_item
from schemas.slate import RecommendIn, encode_slate

from .system import Answer, Ranked

REFRESH_S = 60.0  # of event time between toplists
PUBLISH_S = 900.0  # of event time between published models

Exact = Callable[[NDArray[np.float32], NDArray[np.int64]], VectorIndex]
"""(vectors, labels) -> an index over them."""


class LocalSystem:
    """A recommender that runs on the times of what it is given."""

    def __init__(
        self, *, index: Exact, seed: int = 0, partitions: int = 4, window_s: float = 1800.0, holdout: float = 0.0
    ) -> None:
        self._index, self._seed, self._partitions, self._holdout = index, seed, partitions, holdout
        self.world = World(ItemTable(partitions))
        self.ranker = Candidates(SIDE_BY_SIDE[:1])
        self._vectors = ItemVectors(ItemFactorsConfig(seed=seed), lambda vectors, labels: b"")
        self._sessions = SessionUpdates()
        self._records: list[dict[str, dict[str, bytes]]] = [{} for _ in range(partitions)]
        self._folds = [PartitionFold(p, self._loader(p)) for p in range(partitions)]
        self._joins = [JoinFold(p, {}, window_s=window_s) for p in range(partitions)]
        self._count = count(1)
        self._now = self._refreshed = self._published = 0.0

    def _loader(self, partition: int) -> Callable[[str, Sequence[str]], list[bytes | None]]:
        records = self._records[partition]
        return lambda family, keys: [records.get(family, {}).get(key) for key in keys]

    def _known(self, keys: Sequence[str]) -> list[UserRecord | None]:
        stored = [self._records[partition_of(key, self._partitions)].get(USER, {}).get(key) for key in keys]
        return [known(payload, self._now) for payload in stored]

    def put_items(self, items: Sequence[ItemIn]) -> None:
        for item in items:
            if item.item_id is not None:
                known = self.world.table.documents.get(item.item_id)
                created_at = known.created_at if known is not None else None
                document = accept_item(item, item_id=item.item_id, now=self._now, created_at=created_at)
                self.world.put([document])
                self._vectors.place(document)
        self._refreshed = -REFRESH_S

    def post(self, events: Sequence[EventIn]) -> None:
        for given in events:
            at = self._now if given.timestamp is None else given.timestamp
            event = accept(given, event_id=f"local-{next(self._count)}", received_at=at)
            stamp(event, self.world.table.facets, self._holdout)
            partition = partition_of(event.user_key, self._partitions)
            batch = self._batch(EVENTS, partition, encode_event(event))
            self._now = max(self._now, event.timestamp)
            self._take(partition, self._folds[partition].fold(batch, next(self._count)))
            self._take(partition, self._joins[partition].fold(batch, next(self._count)))

    def recommend(self, ask: RecommendIn) -> Answer:
        self._now = max(self._now, ask.timestamp or 0.0)
        self._catch_up()
        number = next(self._count)
        request = resolve(
            ask,
            partitions=self._partitions,
            served_at=self._now,
            seed=self._seed * 1_000_003 + number,
            suffix=f"{number:016x}",
            control=self.world.control,
            holdout=self._holdout,
        )
        slate = recommend(self.world, request, look_up(ask, self._known).record)
        batch = self._batch(SLATES, slate.partition, encode_slate(slate))
        self._take(slate.partition, self._joins[slate.partition].fold(batch, number))
        return Answer(slate.recommendation_id, [slate.candidates[i] for i in slate.slots], slate.record_position, {})

    def rank(self, ask: RecommendIn) -> Ranked:
        """Return the eligible candidates in the order of their utility, `ask.n` at most; nothing is drawn or logged."""
        self._now = max(self._now, ask.timestamp or 0.0)
        self._catch_up()
        request = resolve(ask, partitions=self._partitions, served_at=self._now, seed=self._seed, suffix="")
        slate = recommend(self.world, request, look_up(ask, self._known).record)
        utilities = np.where(np.frombuffer(slate.eligible, np.uint8), np.frombuffer(slate.utilities), -np.inf)
        best = np.argsort(-utilities, kind="stable")[: len(slate.slots)]
        return Ranked([slate.candidates[i] for i in best], slate.candidates, slate.rung)

    def known(self, ask: RecommendIn) -> UserRecord | None:
        """Return what is known at the moment asked for of who asks."""
        self._now = max(self._now, ask.timestamp or 0.0)
        self._catch_up()
        return look_up(ask, self._known).record

    def close(self) -> None:
        """Nothing to release."""

    def _batch(self, topic: str, partition: int, payload: bytes) -> Batch:
        return Batch(topic, partition, [Message(f"{next(self._count):020d}", payload)])

    def _take(self, partition: int, folded: Folded) -> None:
        for family, records in folded.writes.items():
            apply_writes(self._records[partition].setdefault(family, {}), records)
        for topic, _, payload in folded.outbox:
            if topic == UPDATES:
                update = decode_update(payload)
                self.world.apply(update)
                self._vectors.learn(update)
                self._sessions.learn(update)
            elif topic == EXAMPLES:
                self.ranker.learn_one(decode_example(payload))

    def _catch_up(self) -> None:
        """Do by event time what followers and flows do by the clock."""
        if self._now - self._refreshed >= REFRESH_S:
            self.world.refresh(self._now)
            self._refreshed = self._now
        if self._now - self._published >= PUBLISH_S:
            self._published = self._now
            self.world.ranker_version += 1
            self.world.ranker = self.ranker.export(str(self.world.ranker_version))
            self.world.blend_version += 1
            self.world.blend = self._sessions.blend.copy()
            self._publish_vectors()

    def _publish_vectors(self) -> None:
        ids, matrix = self._vectors.unit_vectors()
        if len(ids) < 2:
            return
        version = self.world.vectors.version + 1 if self.world.vectors else 1
        nearest = self._index(matrix, np.arange(len(ids), dtype=np.int64))
        self.world.vectors = Vectors(version, ids, matrix, {item: i for i, item in enumerate(ids)}, nearest)
