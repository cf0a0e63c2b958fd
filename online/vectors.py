"""Published item vectors, and the direction in which a request looks among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.record import UserRecord
from online.models.item_vectors import IDS_FILE, INDEX_FILE, MATRIX_FILE
from online.ports import Artifact, VectorIndex

PROFILE_ITEMS = 0.5  # session items that the profile weighs as much as
RECENCY_ITEMS = 2.0  # a session's item counts half as much as one clicked so many later


class Vectors(NamedTuple):
    """A published set of item vectors and the index over them; label i is the item `ids[i]`."""

    version: int
    ids: Sequence[str]
    matrix: NDArray[np.float32]  # (n, dim), rows of length 1
    labels: dict[str, int]
    nearest: VectorIndex

    def query(self, record: UserRecord, session_items: Sequence[str]) -> NDArray[np.float32] | None:
        """Return the direction (dim,) of what is wanted now; None when no item of session or profile has a vector.

        With n known items in the session it is n/(n + 1/2) of the session's direction and the rest of the profile's: a
        first click is already most of what is meant, and what the user liked before tells it from a stray one.
        """
        known = [item for item in session_items if item in self.labels]
        session, profile = self._of_session(known), self._of_profile(record)
        if session is None or profile is None:
            return profile if session is None else session
        share = np.float32(len(known) / (len(known) + PROFILE_ITEMS))
        return _unit(share * session + (1 - share) * profile)

    def cosines(self, items: Sequence[str], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the cosine of each item with a query of length 1, shape (n,); 0 for items without a vector."""
        labels = np.array([self.labels.get(item, -1) for item in items], np.int64)
        cosines = (self.matrix[labels] @ query) * (labels >= 0)
        return cosines.astype(np.float64)

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels and exact cosines of about the k items nearest to a unit vector, best first.

        The index names them; it may keep vectors rounded, so that their cosines are computed again.
        """
        labels, _ = self.nearest.search(query, k)
        cosines = self.matrix[labels] @ query  # (k,)
        best = np.argsort(-cosines, kind="stable")
        return labels[best], cosines[best]

    def _of_session(self, items: Sequence[str]) -> NDArray[np.float32] | None:
        """Return the mean direction of the items, recent ones (last) weighing more."""
        return self._mean(items, np.exp2(np.arange(1 - len(items), 1) / RECENCY_ITEMS))

    def _of_profile(self, record: UserRecord) -> NDArray[np.float32] | None:
        """Return the mean direction of the items the user has an affinity to, each weighing as much; below 0, away.

        Affinities are those of the middle half-life. All of them fade at one rate, so that the moment does not matter.
        """
        weights = {item: w[len(w) // 2] for item, w in record.affinities[0].items() if item in self.labels}
        return self._mean(list(weights), np.array(list(weights.values())))

    def _mean(self, items: Sequence[str], weights: NDArray[np.float64]) -> NDArray[np.float32] | None:
        if not items:
            return None
        rows = self.matrix[[self.labels[item] for item in items]]  # (len(items), dim)
        # Forward weights may be too large for float32; only their proportions count.
        return _unit((weights / max(np.abs(weights).max(), 1e-300)).astype(np.float32) @ rows)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32] | None:
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > 1e-6 else None


def read_vectors(artifact: Artifact, view: Callable[[Path], VectorIndex]) -> Vectors:
    """Return the vectors of a verified artifact; `view` opens its index file.

    The matrix is mapped: workers share its pages, and they go with the last request that reads them.

    Raises:
        ValueError: its files do not belong together.
    """
    ids: list[str] = msgspec.json.decode(artifact.files[IDS_FILE].read_bytes(), type=list[str])
    matrix: NDArray[np.float32] = np.load(artifact.files[MATRIX_FILE], mmap_mode="r", allow_pickle=False)
    nearest = view(artifact.files[INDEX_FILE])
    if not len(ids) == len(matrix) == len(nearest):
        msg = f"{len(ids)} ids, {len(matrix)} vectors and {len(nearest)} index entries do not belong together"
        raise ValueError(msg)
    return Vectors(artifact.version, ids, np.asarray(matrix), {item: i for i, item in enumerate(ids)}, nearest)
