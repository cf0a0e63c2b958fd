"""Vector index over USearch's HNSW graph: built once, checked, then viewed from its file.

What makes a query cheap, and by how much, is in decision 30.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from online.adapters.exact_index import ExactIndex, unit_query, unit_vectors
from online.ports import UnsoundIndex

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
_LEAF = 64  # vectors that are neighbours in memory
_POWER_STEPS = 4


class UsearchIndex:
    """A read-only view of an index file: pages are read as queries touch them, and shared between processes.

    Its cosines are those of vectors rounded to the type they are stored as: with bf16 they are 0.01 off at most.
    """

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


class Graph(NamedTuple):
    """How a graph is built: the type vectors are stored as, links per vector, and how wide building and queries look.

    A query for k looks at least k wide.
    """

    dtype: str = "bf16"
    connectivity: int = 16
    expansion_add: int = 128
    expansion_search: int = 64


DEFAULT_GRAPH = Graph()


def build_usearch(vectors: NDArray[np.float32], labels: NDArray[np.int64], *, graph: Graph = DEFAULT_GRAPH) -> bytes:
    """Return the bytes of an index file over vectors (n, dim) with labels (n,), for `UsearchIndex.view`.

    Built with one thread: with several, some vectors become unreachable. Takes about 0.1 ms per vector.

    Raises:
        UnsoundIndex: on a sample, self-recall is below 0.99 or recall@10 against exact search below 0.95.
        ValueError: shapes differ, labels are negative or repeated, or a vector is zero or not finite.
    """
    units = unit_vectors(vectors, labels)
    # Of unit vectors, the inner product is the cosine, without the two roots and the division for each pair.
    index = Index(ndim=units.shape[1], metric="ip", **graph._asdict())
    order = local_order(units)
    index.add(labels[order].astype(np.uint64), units[order], threads=1)
    _check(UsearchIndex(index), units, labels)
    content = index.save()
    if content is None:
        msg = "USearch saved no bytes"
        raise UnsoundIndex(msg)
    return bytes(content)


def local_order(vectors: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return an order (n,) in which near vectors stand near: halves along the main direction, again and again.

    A graph keeps nodes in the order in which they came, and a query walks among near ones: most then lie in cache.

    >>> order = local_order(np.array([[float(n % 2), 0.0] for n in range(200)], np.float32))
    >>> sorted(order.tolist()) == list(range(200)), set((order[:100] % 2).tolist())
    (True, {0})
    """
    done: list[NDArray[np.intp]] = []
    waiting = [np.arange(len(vectors))]
    while waiting:
        rows = waiting.pop()
        if len(rows) <= _LEAF:
            done.append(rows)
            continue
        centred = vectors[rows] - vectors[rows].mean(axis=0)
        halves = np.argpartition(centred @ _main_direction(centred), len(rows) // 2)
        waiting += [rows[halves[len(rows) // 2 :]], rows[halves[: len(rows) // 2]]]
    return np.concatenate(done) if done else np.empty(0, np.intp)


def _main_direction(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return about the first principal component of centred vectors, by power iteration from the widest coordinate."""
    direction = np.zeros(centred.shape[1], np.float32)
    direction[centred.var(axis=0).argmax()] = 1.0
    for _ in range(_POWER_STEPS):
        direction = centred.T @ (centred @ direction)
        direction /= max(float(np.linalg.norm(direction)), 1e-30)
    return direction


def _check(index: UsearchIndex, units: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    n = len(labels)
    if n == 0:
        return
    by_label = np.argsort(labels)
    found = _Found(index, units, labels[by_label], by_label)
    self_recall = float(np.mean([found.best_cosines(units[i], 1)[0] >= 1.0 - _SAME for i in _spread(n, _SELF_SAMPLE)]))
    exact, k = ExactIndex(units, labels), min(10, n)
    recall = float(np.mean([_recall(found, exact, units[i], k) for i in _spread(n, _EXACT_SAMPLE)]))
    if self_recall < SELF_RECALL or recall < RECALL_AT_10:
        msg = (
            f"of {n} vectors: self-recall {self_recall:.4f} (at least {SELF_RECALL}), "
            f"recall@10 {recall:.4f} (at least {RECALL_AT_10})"
        )
        raise UnsoundIndex(msg)


class _Found(NamedTuple):
    """What an index finds, in exact cosines."""

    graph: UsearchIndex
    units: NDArray[np.float32]
    sorted_labels: NDArray[np.int64]
    rows: NDArray[np.intp]  # of the sorted labels

    def best_cosines(self, unit: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        labels, _ = self.graph.search(unit, k)
        if not len(labels):
            return np.full(1, -1.0, np.float32)
        return self.units[self.rows[np.searchsorted(self.sorted_labels, labels)]] @ unit


def _spread(n: int, most: int) -> NDArray[np.intp]:
    return np.linspace(0, n - 1, min(n, most)).astype(np.intp)


def _recall(found: _Found, exact: ExactIndex, unit: NDArray[np.float32], k: int) -> float:
    _, best = exact.search(unit, k)
    return float(np.count_nonzero(found.best_cosines(unit, k) >= best[-1] - _SAME)) / k
