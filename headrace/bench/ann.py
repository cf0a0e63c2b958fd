"""`headrace bench ann`: USearch against hnswlib and faiss at equal recall, on vectors like items' and on noise."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.bench.contender import CONTENDERS, Built
from headrace.bench.measure import headed, median, spread
from headrace.verify.published import clustered

K = 100
RECALL = 0.99
WIDTHS = (100, 140, 200, 300, 420, 600, 850, 1200)
CLUSTER_ITEMS = 200  # on average; the largest have ten times as many

METHOD = (
    "Unit vectors, held-out queries of the same kind, asked one at a time from one thread. Every graph is asked with "
    "the least width (expansion) of a fixed series that reaches the recall: of the 100 nearest by exact search, ties "
    "included, averaged over queries. Graphs then take turns in each repeat; us is the CPU time of a query, as a "
    "median over repeats. Names: library, type of the vectors, links; 'exact' asks for twice as many and chooses by "
    "exact cosines, 'served' gets exact cosines for what it found. open_ms is wall time, of mapping the file (USearch) "
    "or reading it."
)


def ann(
    *,
    items: int = 100_000,
    dim: int = 64,
    queries: int = 300,
    repeats: int = 5,
    only: Sequence[str] = ("",),
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Compare the contenders whose name contains one of `only`.

    Args:
        items: vectors.
        dim: of them.
        queries: in each repeat.
        repeats: of the timing.
        only: parts of names.
        seed: of vectors and queries.
        progress: told what is going on.
    """
    rng = np.random.default_rng(seed)
    kinds = {
        "clustered": clustered(items + queries, dim, rng=rng, cluster_items=CLUSTER_ITEMS),
        "noise": _units(rng.standard_normal((items + queries, dim))),
    }
    names = [name for name in CONTENDERS if any(part in name for part in only)]
    document: dict[str, Any] = {"items": items, "dim": dim, "k": K, "recall_wanted": RECALL}
    for kind, vectors in kinds.items():
        progress(kind)
        document[kind] = _compared(vectors[:items], vectors[items:], names, repeats, progress)
    return headed(METHOD, queries * repeats, document)


def _units(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _compared(
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    names: Sequence[str],
    repeats: int,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    least = np.array([np.partition(vectors @ query, -K)[-K] for query in queries])  # cosine of the 100th
    built: dict[str, Built] = {}
    found: dict[str, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        for number, name in enumerate(names):
            progress(f"building {name}")
            folder = Path(directory) / str(number)
            folder.mkdir()
            built[name] = CONTENDERS[name](vectors, folder)
            found[name] = _width(built[name], vectors, queries, least)
        progress("asking")
        took = _timed({name: (built[name], found[name][0]) for name in names}, queries, repeats)
    return {
        name: {
            "us": median(took[name], 1),
            "us_spread": spread(took[name], 1),
            "recall": round(found[name][1], 4),
            "is_reached": found[name][1] >= RECALL,
            "width": found[name][0],
            "build_cpu_s": round(built[name].build_cpu_s, 1),
            "file_mb": round(built[name].file_mb, 1),
            "open_ms": round(built[name].open_ms, 1),
        }
        for name in names
    }


def _width(
    graph: Built, vectors: NDArray[np.float32], queries: NDArray[np.float32], least: NDArray[np.float32]
) -> tuple[int, float]:
    """Return the least width that reaches the recall, or the greatest there is, and its recall."""
    width, recall = WIDTHS[0], 0.0
    for width in WIDTHS:
        hits = [
            np.count_nonzero(vectors[graph.search(query, K, width)] @ query >= bound - 1e-6)
            for query, bound in zip(queries, least, strict=True)
        ]
        recall = float(np.mean(np.minimum(hits, K))) / K
        if recall >= RECALL:
            break
    return width, recall


def _timed(graphs: dict[str, tuple[Built, int]], queries: NDArray[np.float32], repeats: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(repeats):
        for name, (graph, width) in graphs.items():
            began = time.process_time()
            for query in queries:
                graph.search(query, K, width)
            took[name].append((time.process_time() - began) / len(queries) * 1e6)
    return took
