"""Vector index over USearch's HNSW graph: built once, checked, then viewed from its file."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from online.adapters.exact_index import ExactIndex, unit_query, unit_vectors

# The wheel of USearch carries a C++ library of its own, which numbers the parts of a locale for both when it is the
# first to do so; then a regular expression in the system's library, as Pulsar's client has one, ends the process with
# SIGSEGV. So the system's library sets up its locale before.
with suppress(OSError, AttributeError):  # a system without this library has no such trouble
    ctypes.CDLL("libstdc++.so.6")["_ZNSt6locale7classicEv"]()  # std::locale::classic()

from usearch.index import Index

SELF_RECALL = 0.99
RECALL_AT_10 = 0.95
_SELF_SAMPLE = 1000
_EXACT_SAMPLE = 200
_SAME = 1e-5  # cosines this close are one: twins may stand for each other


class UnsoundIndex(Exception):
    """The graph just built does not find what it holds; keep serving the one before."""


class UsearchIndex:
    """A read-only view of an index file: pages are read as queries touch them, and shared between processes."""

    def __init__(self, index: Index) -> None:
        self._index = index

    @classmethod
    def view(cls, path: Path) -> Self:
        """Open a file that `build_usearch` made and whose sha256 has been verified (as `ArtifactStore.open` does).

        A file with flipped bits can crash the process in USearch, so an unverified one must never come here.

        Raises:
            ValueError: the file is no USearch index.
        """
        index = Index.restore(path, view=True)
        if index is None:
            msg = f"{path} is no USearch index"
            raise ValueError(msg)
        return cls(index)

    def __len__(self) -> int:
        return len(self._index)

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the labels and cosines of about the k nearest, best first.

        Raises:
            ValueError: the query's shape is not (dim,), or k is not positive.
        """
        unit = unit_query(query, self._index.ndim, k)
        if unit is None or not len(self._index):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        matches = self._index.search(unit, min(k, len(self._index)), threads=1)
        return matches.keys.astype(np.int64), np.float32(1.0) - matches.distances


def build_usearch(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    connectivity: int = 16,
    expansion: int = 64,
) -> bytes:
    """Return the bytes of an index file over vectors (n, dim) with labels (n,), for `UsearchIndex.view`.

    Built with one thread: with several, some vectors become unreachable. Takes about 0.15 ms per vector.

    Raises:
        UnsoundIndex: on a sample, self-recall is below 0.99 or recall@10 against exact search below 0.95.
        ValueError: shapes differ, labels are negative or repeated, or a vector is zero or not finite.
    """
    units = unit_vectors(vectors, labels)
    index = Index(
        ndim=units.shape[1],
        metric="cos",
        dtype="f32",
        connectivity=connectivity,
        expansion_add=2 * expansion,
        expansion_search=expansion,
    )
    index.add(labels.astype(np.uint64), units, threads=1)
    _check(UsearchIndex(index), units, labels)
    content = index.save()
    if content is None:
        msg = "USearch saved no bytes"
        raise UnsoundIndex(msg)
    return bytes(content)


def _check(index: UsearchIndex, units: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    n = len(labels)
    if n == 0:
        return
    found_itself = [_finds_itself(index, units[i], labels[i]) for i in _spread(n, _SELF_SAMPLE)]
    exact = ExactIndex(units, labels)
    recalls = [_recall(index, exact, units[i], min(10, n)) for i in _spread(n, _EXACT_SAMPLE)]
    self_recall, recall = float(np.mean(found_itself)), float(np.mean(recalls))
    if self_recall < SELF_RECALL or recall < RECALL_AT_10:
        msg = (
            f"of {n} vectors: self-recall {self_recall:.4f} (at least {SELF_RECALL}), "
            f"recall@10 {recall:.4f} (at least {RECALL_AT_10})"
        )
        raise UnsoundIndex(msg)


def _spread(n: int, most: int) -> NDArray[np.intp]:
    return np.linspace(0, n - 1, min(n, most)).astype(np.intp)


def _finds_itself(index: UsearchIndex, unit: NDArray[np.float32], label: np.int64) -> bool:
    labels, cosines = index.search(unit, 1)
    return bool(labels[0] == label or cosines[0] >= 1.0 - _SAME)


def _recall(index: UsearchIndex, exact: ExactIndex, unit: NDArray[np.float32], k: int) -> float:
    _, cosines = index.search(unit, k)
    _, best = exact.search(unit, k)
    return float(np.mean(cosines >= best[-1] - _SAME)) * len(cosines) / k
