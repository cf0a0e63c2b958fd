"""Published item vectors, and the direction in which a request looks among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from online.core.item_table import Vocabulary
from online.core.kernel import kernel
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
        weights = np.array([*record.affinities[0].values()]).reshape(len(liked), -1) if len(liked) else np.empty((0, 1))
        return self.direction(session, liked, weights)

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
        direction = _direction(self.matrix, session, liked, weights)
        return direction if len(direction) else None

    def cosines(self, labels: NDArray[np.int32], query: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the cosine of each label with a query of length 1, shape (n,); 0 for −1, an item without a vector."""
        return _cosines(self.matrix, labels, query)

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels and exact cosines of about the k items nearest to a unit vector, best first.

        The index names them; it may keep vectors rounded, so that their cosines are computed again.
        """
        labels, _ = self.nearest.search(query, k)
        return _sorted(self.matrix, labels, query)


@kernel
def _direction(
    matrix: NDArray[np.float32],  # (n, dim)
    session: NDArray[np.int32],  # (s,) labels, oldest first, −1 for none
    liked: NDArray[np.int32],  # (k,) labels, −1 for none
    weights: NDArray[np.float64],  # (k, half-lives)
) -> NDArray[np.float32]:
    """Return a vector of length 1, an empty one for none."""
    known = session[session >= 0]
    of_session = _unit_sum(matrix, known, 2.0 ** (np.arange(1 - len(known), 1) / RECENCY_ITEMS))
    profile = _unit_sum(matrix, liked, weights[:, weights.shape[1] // 2].copy())
    if not len(of_session) or not len(profile):
        return (profile if not len(of_session) else of_session).astype(np.float32)
    share = len(known) / (len(known) + PROFILE_ITEMS)
    return _unit(share * of_session + (1.0 - share) * profile).astype(np.float32)


@kernel
def _unit_sum(
    matrix: NDArray[np.float32], labels: NDArray[np.int32], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the direction (dim,) of weighted vectors, an empty one for none; only proportions of weights count."""
    largest, total = 1e-300, np.zeros(matrix.shape[1])
    for i in range(len(labels)):
        if labels[i] >= 0:
            largest = max(largest, abs(weights[i]))
    for i in range(len(labels)):
        if labels[i] >= 0:
            total += weights[i] / largest * matrix[labels[i]]
    return _unit(total)


@kernel
def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.sqrt((vector * vector).sum())
    return vector / length if length > 1e-6 else vector[:0]


@kernel
def _cosines(matrix: NDArray[np.float32], labels: NDArray[np.int32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    cosines = np.zeros(len(labels))
    for i in range(len(labels)):
        if labels[i] >= 0:
            for d in range(len(query)):
                cosines[i] += matrix[labels[i], d] * query[d]
    return cosines


@kernel
def _sorted(
    matrix: NDArray[np.float32], labels: NDArray[np.int64], query: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return labels by their cosine, best first, and the cosines."""
    cosines = np.zeros(len(labels), np.float32)
    for i in range(len(labels)):
        for d in range(len(query)):
            cosines[i] += matrix[labels[i], d] * query[d]
    best = np.argsort(-cosines, kind="mergesort")
    return labels[best], cosines[best]


def read_vectors(artifact: Artifact, view: Callable[[Path], VectorIndex]) -> Vectors:
    """Return the vectors of a verified artifact; `view` opens its index file.

    The matrix is mapped, and nobody writes to it: workers share its pages, and they go with the last request that reads
    them.

    Raises:
        ValueError: its files do not belong together.
    """
    ids: list[str] = msgspec.json.decode(artifact.files[IDS_FILE].read_bytes(), type=list[str])
    matrix: NDArray[np.float32] = np.load(artifact.files[MATRIX_FILE], mmap_mode="c", allow_pickle=False)
    nearest = view(artifact.files[INDEX_FILE])
    if not len(ids) == len(matrix) == len(nearest):
        msg = f"{len(ids)} ids, {len(matrix)} vectors and {len(nearest)} index entries do not belong together"
        raise ValueError(msg)
    return Vectors(artifact.version, ids, np.asarray(matrix), {item: i for i, item in enumerate(ids)}, nearest)
