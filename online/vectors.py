"""Published item vectors, and the direction in which a request looks among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.item_table import Vocabulary
from online.core.record import UserRecord
from online.models.item_vectors import IDS_FILE, INDEX_FILE, MATRIX_FILE
from online.ports import Artifact, VectorIndex

PROFILE_ITEMS = 0.5  # session items that the profile weighs as much as
RECENCY_ITEMS = 2.0  # a session's item counts half as much as one clicked so many later


_NONE = np.empty(0, np.int32)


class Vectors(NamedTuple):
    """A published set of item vectors and the index over them; label i is the item `ids[i]`."""

    version: int
    ids: Sequence[str]
    matrix: NDArray[np.float32]  # (n, dim), rows of length 1
    labels: dict[str, int]
    nearest: VectorIndex
    label_of: NDArray[np.int32] = _NONE  # (rows,) the label of each row of an item table, −1 for none
    row_of: NDArray[np.int32] = _NONE  # (n,) the row of each label there, −1 for none yet

    def placed(self, items: Vocabulary) -> Self:
        """Return these vectors with the rows of a table's items; themselves where they have them all.

        It costs a look at each item that has come since: who keeps the result pays for new items alone.
        """
        known = len(self.label_of)
        if known == len(items) and known:
            return self
        added = np.fromiter(map(self.labels.get, items.names[known:], repeat(-1)), np.int32)
        row_of = self.row_of.copy() if known else np.full(len(self.ids), -1, np.int32)
        has = np.flatnonzero(added >= 0)
        row_of[added[has]] = known + has
        return self._replace(label_of=np.concatenate([self.label_of, added]), row_of=row_of)

    def query(self, record: UserRecord, session_items: Sequence[str]) -> NDArray[np.float32] | None:
        """Return the direction (dim,) of what is wanted now by ids; see `direction`."""
        session, liked = (
            np.fromiter(map(self.labels.get, items, repeat(-1)), np.int32, len(items))
            for items in (session_items, record.affinities[0])
        )
        return self.direction(session, liked, np.array(list(record.affinities[0].values())))

    def direction(
        self, session: NDArray[np.int32], liked: NDArray[np.int32], weights: NDArray[np.float64]
    ) -> NDArray[np.float32] | None:
        """Return the direction (dim,) of what is wanted now; None when no item of session or profile has a vector.

        With n known items in the session it is n/(n + 1/2) of the session's direction and the rest of the profile's: a
        first click is already most of what is meant, and what the user liked before tells it from a stray one. In the
        session recent items weigh more; in the profile each weighs as much as it is liked, and below 0 leads away.

        Args:
            session: labels of the session's items, oldest first, −1 for those without a vector.
            liked: (k,) labels of the items the user has an affinity to, −1 likewise.
            weights: (k, half-lives) their affinities. Those of the middle half-life count: all of them fade at one
                rate, so that the moment does not matter.
        """
        known = session[session >= 0]
        of_session = self._mean(known, np.exp2(np.arange(1 - len(known), 1) / RECENCY_ITEMS))
        has = liked >= 0
        profile = self._mean(liked[has], weights[has, weights.shape[1] // 2]) if has.any() else None
        if of_session is None or profile is None:
            return profile if of_session is None else of_session
        share = np.float32(len(known) / (len(known) + PROFILE_ITEMS))
        return _unit(share * of_session + (1 - share) * profile)

    def cosines(self, labels: NDArray[np.integer], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the cosine of each label with a query of length 1, shape (n,); 0 for −1, an item without a vector."""
        cosines: NDArray[np.float64] = (self.matrix[labels] @ query).astype(np.float64) * (labels >= 0)
        return cosines

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels and exact cosines of about the k items nearest to a unit vector, best first.

        The index names them; it may keep vectors rounded, so that their cosines are computed again.
        """
        labels, _ = self.nearest.search(query, k)
        cosines = self.matrix[labels] @ query  # (k,)
        best = np.argsort(-cosines, kind="stable")
        return labels[best], cosines[best]

    def _mean(self, labels: NDArray[np.int32], weights: NDArray[np.float64]) -> NDArray[np.float32] | None:
        if not len(labels):
            return None
        # Forward weights may be too large for float32; only their proportions count.
        scaled = (weights / max(float(np.abs(weights).max()), 1e-300)).astype(np.float32)
        return _unit(scaled @ self.matrix[labels])  # (n,) @ (n, dim)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32] | None:
    length = math.sqrt(float(vector @ vector))
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
