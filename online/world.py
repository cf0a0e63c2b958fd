"""What a serving worker reads beside the user record: item arrays, session index, vectors and ranker.

One thread follows the log and changes it; requests read it. What a request must see whole (toplists, vectors,
ranker) is one reference, replaced and never edited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.item_table import ItemTable
from online.core.ranker import PRIOR_RANKER, Ranker
from online.core.toplists import Toplists
from online.core.update import Update
from online.models.item_vectors import IDS_FILE, INDEX_FILE, MATRIX_FILE
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.ports import Artifact, VectorIndex

VECTORS, RANKER = "vectors", "ranker"  # names of the artifacts a worker serves
RANKER_FILE = "ranker.json"


class Vectors(NamedTuple):
    """A published set of item vectors and the index over them; label i is the item `ids[i]`."""

    version: int
    ids: Sequence[str]
    matrix: NDArray[np.float32]  # (n, dim), rows of length 1
    labels: dict[str, int]
    nearest: VectorIndex

    def query(self, items: Sequence[str]) -> NDArray[np.float32] | None:
        """Return the mean direction of the known items, recent ones (last) weighing more; None when none is known."""
        labels = [self.labels[item] for item in items if item in self.labels]
        if not labels:
            return None
        weights = np.exp2(np.arange(1 - len(labels), 1, dtype=np.float32) / 2.0)
        mean: NDArray[np.float32] = weights @ self.matrix[labels]
        length = float(np.linalg.norm(mean))
        return mean / length if length > 0.0 else None


def read_vectors(artifact: Artifact, view: Callable[[Path], VectorIndex]) -> Vectors:
    """Return the vectors of a verified artifact; `view` opens its index file.

    Raises:
        ValueError: its files do not belong together.
    """
    ids: list[str] = msgspec.json.decode(artifact.files[IDS_FILE].read_bytes(), type=list[str])
    matrix: NDArray[np.float32] = np.load(artifact.files[MATRIX_FILE], allow_pickle=False)
    nearest = view(artifact.files[INDEX_FILE])
    if not len(ids) == len(matrix) == len(nearest):
        msg = f"{len(ids)} ids, {len(matrix)} vectors and {len(nearest)} index entries do not belong together"
        raise ValueError(msg)
    return Vectors(artifact.version, ids, matrix, {item: i for i, item in enumerate(ids)}, nearest)


@dataclass(slots=True)
class World:
    """The shared state of a serving worker or of a simulation in process."""

    table: ItemTable
    sessions: SessionKnn = field(default_factory=lambda: SessionKnn(SessionKnnConfig(sessions=200_000)))
    tops: Toplists | None = None
    vectors: Vectors | None = None
    ranker: Ranker = PRIOR_RANKER
    ranker_version: int = 0  # of the artifact the ranker came from, 0 for the prior

    def apply(self, update: Update) -> None:
        """Apply one update message to the item arrays and the session index."""
        if self.table.apply(update):
            for touch in update.touches:
                if touch.was:
                    self.sessions.move(touch.was, touch.session)
                self.sessions.learn_one(touch.session, self.table.row(touch.item_id), touch.time)

    def frozen(self) -> World:
        """Return this world with the toplists, vectors and ranker of this moment, for one request to read."""
        return replace(self)

    def refresh(self, now: float) -> None:
        """Recompute the toplists as of `now`."""
        self.tops = Toplists(self.table, now)
