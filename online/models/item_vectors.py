"""Item vectors over a vocabulary of item ids: the fold of catalogue and updates that is published as an index."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.catalogue import ITEMS
from online.core.item_table import Vocabulary
from online.core.session import hash64
from online.core.update import Update, decode_update
from online.ports import Batch
from schemas.item import Item, decode_item

from .item_factors import ItemFactors, ItemFactorsConfig, category_vector

logger = logging.getLogger(__name__)

INDEX_FILE, MATRIX_FILE, IDS_FILE, STATE_FILE = "index.usearch", "vectors.npy", "ids.json", "factors.npz"
CONTEXT_ITEMS = 4  # of a session's latest items each click is learned against
SESSIONS = 50_000  # whose latest items are remembered, twice over

BuildIndex = Callable[[NDArray[np.float32], NDArray[np.int64]], bytes]
"""(vectors, labels) -> the bytes of a checked index file; raises `UnsoundIndex` when the check fails."""


class ItemVectors:
    """Item vectors over a vocabulary of item ids, and the contexts of the sessions going on."""

    def __init__(self, config: ItemFactorsConfig, build_index: BuildIndex) -> None:
        self._factors = ItemFactors(config)
        self._config, self._build_index = config, build_index
        self._ids = Vocabulary()
        self._applied: dict[int, int] = {}
        self._young: dict[int, list[int]] = {}
        self._old: dict[int, list[int]] = {}
        self._deleted: set[str] = set()
        self._clicks = 0

    def restore(self, ids: bytes, state: bytes) -> None:
        """Go on from a published version."""
        document = np.load(io.BytesIO(state), allow_pickle=False)
        for item_id in msgspec.json.decode(document["all_ids"].tobytes(), type=list[str]):
            self._ids.code(item_id)
        self._deleted = set(self._ids.names) - set(msgspec.json.decode(ids, type=list[str]))
        self._applied = dict(document["applied"].tolist())
        self._clicks = int(document["clicks"])
        self._factors = ItemFactors.from_state(self._config, document)

    def fold(self, batch: Batch) -> None:
        """Learn a batch of items or updates."""
        for message in batch.messages:
            try:
                if batch.topic == ITEMS:
                    self.place(decode_item(message.payload))
                else:
                    self.learn(decode_update(message.payload))
            except msgspec.MsgspecError as error:
                logger.error("skipping %s %s: %s", batch.topic, message.position, error)

    def place(self, item: Item) -> None:
        """Give a new item a vector near those of its categories; take a deleted one out of the next index."""
        row = self._ids.code(item.item_id)
        (self._deleted.add if item.deleted else self._deleted.discard)(item.item_id)
        codes = np.array([hash64(category) for category in item.categories], np.uint64)
        content = category_vector(codes, dim=self._config.dim, seed=self._config.seed) if len(codes) else None
        self._factors.add_item(row, content)

    def learn(self, update: Update) -> None:
        """Learn an update's touches, each against its session's latest items; a repeated update changes nothing."""
        if update.seq <= self._applied.get(update.partition, 0):
            return
        self._applied[update.partition] = update.seq
        rows, contexts = [], []
        for touch in update.touches:
            row = self._ids.code(touch.item_id)
            context = self._context(touch.session)
            if not context or context[-1] != row:
                rows.append(row)
                contexts.append([-1] * (CONTEXT_ITEMS - len(context)) + context)
                context.append(row)
                del context[:-CONTEXT_ITEMS]
        if rows:
            self._factors.learn_many(np.array(contexts, np.int32), np.array(rows, np.int32))
            self._clicks += len(rows)

    def _context(self, session: int) -> list[int]:
        """Return the latest rows of a session, a list to append to."""
        if len(self._young) > SESSIONS:
            self._old, self._young = self._young, {}
        context = self._young.get(session)
        if context is None:
            context = self._young[session] = self._old.pop(session, [])
        return context

    def unit_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Return the ids of the items there are, and their vectors (n, dim) at length 1."""
        ids = self._ids.names[: len(self._factors.vectors)]
        kept = [i for i, item in enumerate(ids) if item not in self._deleted]
        vectors = self._factors.vectors[kept]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return [ids[i] for i in kept], vectors / np.maximum(lengths, np.float32(1e-12))

    def files(self) -> Mapping[str, bytes] | None:
        """Return the index with its ids and vectors, and what a restart needs."""
        ids, matrix = self.unit_vectors()
        if len(ids) < 2:
            return None
        return {**served_files(ids, matrix, self._build_index), STATE_FILE: self._state()}

    def _state(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            allow_pickle=False,
            all_ids=np.frombuffer(msgspec.json.encode(self._ids.names), np.uint8),
            applied=np.array(sorted(self._applied.items()), np.int64).reshape(-1, 2),
            clicks=np.array(self._clicks),
            **self._factors.state(),
        )
        return buffer.getvalue()

    def summary(self) -> Mapping[str, Any]:
        """Return figures for the lineage."""
        return {"items": len(self._ids) - len(self._deleted), "clicks": self._clicks, "dim": self._config.dim}


def served_files(ids: Sequence[str], matrix: NDArray[np.float32], build_index: BuildIndex) -> dict[str, bytes]:
    """Return what a worker serves of item vectors (n, dim) of length 1 as the files of an artifact."""
    return {
        INDEX_FILE: build_index(matrix, np.arange(len(ids), dtype=np.int64)),
        MATRIX_FILE: _npy(matrix),
        IDS_FILE: msgspec.json.encode(ids),
    }


def _npy(matrix: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    return buffer.getvalue()
