"""Libraries of approximate nearest neighbours behind one shape, for `headrace bench ann`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.adapters.usearch_index import DEFAULT_GRAPH, Graph, local_order

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]
Search = Callable[[Vectors, int, int], Rows]
"""(query (dim,), k, how many candidates to keep while searching) -> rows of the vectors, best first."""


class Built(NamedTuple):
    """A graph and what it cost."""

    search: Search
    build_cpu_s: float
    file_mb: float
    open_ms: float  # from its file: mapped where the library can, else read


Build = Callable[[Vectors, Path], Built]
"""(unit vectors (n, dim), a directory) -> the graph over them."""


def _usearch(vectors: Vectors, directory: Path, *, graph: Graph, metric: str, is_local: bool, wider: int) -> Built:
    from usearch.index import Index

    began = time.process_time()
    order = local_order(vectors) if is_local else np.arange(len(vectors))
    index = Index(ndim=vectors.shape[1], metric=metric, **graph._asdict())
    index.add(order.astype(np.uint64), vectors[order], threads=1)
    built = time.process_time() - began
    path = directory / "usearch"
    index.save(path)
    opened = time.perf_counter()
    view = Index.restore(path, view=True)
    open_ms = (time.perf_counter() - opened) * 1000.0
    assert view is not None

    def search(query: Vectors, k: int, width: int) -> Rows:
        view.expansion_search = width  # type: ignore[misc]  # its setter stands apart from its getter
        rows = np.asarray(view.search(query, max(1, wider) * k, threads=1).keys, np.int64)
        if not wider:
            return rows
        return rows[np.argsort(-(vectors[rows] @ query))[:k]]

    return Built(search, built, path.stat().st_size / 1e6, open_ms)


def _hnswlib(vectors: Vectors, directory: Path, *, connectivity: int, expansion_add: int, is_local: bool) -> Built:
    import hnswlib

    def empty() -> Any:
        return hnswlib.Index(space="ip", dim=vectors.shape[1])

    began = time.process_time()
    order = local_order(vectors) if is_local else np.arange(len(vectors))
    index = empty()
    index.init_index(len(vectors), M=connectivity, ef_construction=expansion_add)
    index.add_items(vectors[order], order, num_threads=1)
    built = time.process_time() - began
    path = directory / "hnswlib"
    index.save_index(str(path))
    opened = time.perf_counter()
    loaded = empty()
    loaded.load_index(str(path))
    open_ms = (time.perf_counter() - opened) * 1000.0
    loaded.set_num_threads(1)

    def search(query: Vectors, k: int, width: int) -> Rows:
        loaded.set_ef(width)
        return np.asarray(loaded.knn_query(query, k=k, num_threads=1)[0][0], np.int64)

    return Built(search, built, path.stat().st_size / 1e6, open_ms)


def _faiss(vectors: Vectors, directory: Path, *, connectivity: int, expansion_add: int) -> Built:
    import faiss

    faiss.omp_set_num_threads(1)
    began = time.process_time()
    index = faiss.IndexHNSWFlat(vectors.shape[1], connectivity, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = expansion_add
    index.add(vectors)
    built = time.process_time() - began
    path = directory / "faiss"
    faiss.write_index(index, str(path))
    opened = time.perf_counter()
    loaded = faiss.read_index(str(path))
    open_ms = (time.perf_counter() - opened) * 1000.0

    def search(query: Vectors, k: int, width: int) -> Rows:
        loaded.hnsw.efSearch = width
        return np.asarray(loaded.search(query[np.newaxis], k)[1][0], np.int64)

    return Built(search, built, path.stat().st_size / 1e6, open_ms)


def _of(dtype: str, links: int = 16, *, metric: str = "ip", is_local: bool = True, wider: int = 0) -> Build:
    return partial(_usearch, graph=Graph(dtype, links, 8 * links), metric=metric, is_local=is_local, wider=wider)


CONTENDERS: Mapping[str, Build] = {
    "usearch f32 16 cosine": _of("f32", metric="cos", is_local=False),  # as the library does it by itself
    "usearch f32 16 unordered": _of("f32", is_local=False),
    "usearch f32 16": _of("f32"),
    "usearch f16 16": _of("f16"),
    "usearch bf16 16": _of("bf16"),
    "usearch i8 16": _of("i8"),
    "usearch i8 16 exact": _of("i8", wider=2),
    "usearch bf16 8": _of("bf16", 8),
    "usearch bf16 32": _of("bf16", 32),
    "usearch served": partial(_usearch, graph=DEFAULT_GRAPH, metric="ip", is_local=True, wider=1),
    "hnswlib 16": partial(_hnswlib, connectivity=16, expansion_add=128, is_local=False),
    "hnswlib 16 ordered": partial(_hnswlib, connectivity=16, expansion_add=128, is_local=True),
    "hnswlib 32": partial(_hnswlib, connectivity=32, expansion_add=256, is_local=False),
    "faiss 16": partial(_faiss, connectivity=16, expansion_add=128),
}
"""By library, type and links of a vector, and what differs: the order of adding, exact cosines at the end."""

LIBRARIES = ("hnswlib", "faiss")  # of the dependency group `ann`
