"""Item vectors made up to be published: sound versions that can be told apart, and damaged ones to be refused."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from online.adapters.exact_index import ExactIndex
from online.adapters.file_artifacts import FileArtifacts
from online.adapters.usearch_index import build_usearch
from online.models.item_vectors import INDEX_FILE, served_files
from online.vectors import Vectors
from online.world import VECTORS

Damage = Literal["flipped", "truncated", "older", "unfit"]
DAMAGES: tuple[Damage, ...] = ("flipped", "truncated", "older", "unfit")
"""A bit of the index file flipped, its end cut off, an earlier version under a newer number, files of two versions."""

CLUSTER_ITEMS, DIM = 50, 32
NOISE = 0.7  # of a vector, against the length 1 of its cluster's centre


class Edition:
    """Vectors of its own for all items, in an order of its own: an answer tells which edition it came from."""

    def __init__(self, ids: list[str], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.ids = [ids[i] for i in rng.permutation(len(ids))]
        self.matrix = clustered(len(ids), DIM, rng=rng)
        self.files = served_files(self.ids, self.matrix, build_usearch)

    def vectors(self, version: int) -> Vectors:
        """Return what a worker makes of it, with exact search in the place of the graph."""
        labels = {item: i for i, item in enumerate(self.ids)}
        return Vectors(version, self.ids, self.matrix, labels, ExactIndex(self.matrix, np.arange(len(self.ids))))


def clustered(n: int, dim: int, *, rng: np.random.Generator, cluster_items: int = CLUSTER_ITEMS) -> NDArray[np.float32]:
    """Return unit vectors (n, dim) about centres, as item vectors lie about tastes; a few centres have very many."""
    centres = rng.standard_normal((max(1, n // cluster_items), dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    popularity = 1.0 / (np.arange(len(centres)) + 10.0)
    noise = rng.standard_normal((n, dim)) * (NOISE / dim**0.5)
    vectors = centres[rng.choice(len(centres), n, p=popularity / popularity.sum())] + noise
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def publish_damaged(root: Path, files: Mapping[str, bytes], damage: Damage) -> None:
    """Publish a version below the directory of an artifact store that a worker must refuse, whole and at once."""
    running = FileArtifacts(root).newest(VECTORS)
    with tempfile.TemporaryDirectory(dir=root.parent) as aside:
        (Path(aside) / VECTORS / str(running)).mkdir(parents=True)  # so that the next version has the next number
        if damage == "older":
            folder = Path(aside) / VECTORS / str(running + 1)
            shutil.copytree(root / VECTORS / str(running), folder)
        else:
            unfit = {**files, INDEX_FILE: b"not an index"} if damage == "unfit" else files
            folder = FileArtifacts(Path(aside)).publish(VECTORS, unfit, {"positions": {}}).files[INDEX_FILE].parent
            _spoil(folder / INDEX_FILE, damage)
        folder.rename(root / VECTORS / folder.name)
    latest = root / VECTORS / ".latest-damaged"
    latest.write_text(f"{running + 1}\n", encoding="ascii")
    latest.replace(root / VECTORS / "LATEST")


def _spoil(path: Path, damage: Damage) -> None:
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0x10
    elif damage == "truncated":
        del content[len(content) // 2 :]
    path.write_bytes(content)
