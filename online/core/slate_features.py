"""How the features of a slate are logged: feature by feature, since many are the same for most candidates, in LZ4.

Each takes two bytes, the upper half of a float32 (bfloat16: its range, 8 significant bits). A slate is ranked by what
it logs: values are rounded before they are scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lz4.block import LZ4BlockError, compress, decompress
from numpy.typing import NDArray

from schemas.slate import HALVED_VERSION, PACKED_VERSION, Slate

from .kernel import kernel

_LOWER = 16  # bits of a float32 that are not logged


def rounded(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round features (c, f) in place to the nearest of what slates can log, ties away from 0; return them.

    The relative error is 2^-8 at most.

    >>> rounded(np.array([[1.0, 1.0 + 2**-9, 0.3]], np.float32)).tolist()
    [[1.0, 1.0, 0.30078125]]
    """
    _round(features.T.view(np.uint32))
    return features


@kernel
def _round(columns: NDArray[np.uint32]) -> None:
    half, kept = np.uint32(1 << (_LOWER - 1)), np.uint32(0xFFFFFFFF >> _LOWER << _LOWER)
    for column in range(columns.shape[0]):
        for i in range(columns.shape[1]):
            columns[column, i] = (columns[column, i] + half) & kept


@kernel
def _upper_halves(columns: NDArray[np.uint32]) -> NDArray[np.uint16]:
    halves = np.empty(columns.shape, np.uint16)
    for column in range(columns.shape[0]):
        for i in range(columns.shape[1]):
            halves[column, i] = columns[column, i] >> np.uint32(_LOWER)
    return halves


def packed_features(features: NDArray[np.float32]) -> bytes:
    """Return a rounded feature matrix (c, f) as slates log it; one in Fortran order is not copied before."""
    columns = features.T.view(np.uint32) if features.size else np.empty((0, 0), np.uint32)
    return bytes(compress(_upper_halves(columns).data, store_size=False)) if columns.size else b""


def slate_features(slate: Slate) -> NDArray[np.float32]:
    """Return the feature matrix (c, f) that a slate has logged, not to be written to.

    Raises:
        ValueError: what it has logged is no matrix of its candidates and features.
    """
    candidates, features = len(slate.candidates), len(slate.feature_names)
    if slate.schema_version < PACKED_VERSION:
        return np.frombuffer(slate.features, np.float32).reshape(candidates, features)
    kind: type[np.generic] = np.uint16 if slate.schema_version >= HALVED_VERSION else np.float32
    size = np.dtype(kind).itemsize * candidates * features
    try:
        columns = decompress(slate.features, uncompressed_size=size) if size else b""
    except LZ4BlockError as error:
        msg = f"the features of slate {slate.recommendation_id} cannot be unpacked: {error}"
        raise ValueError(msg) from None
    logged: NDArray[Any] = np.frombuffer(columns, kind)
    if kind is np.uint16:
        logged = (logged.astype(np.uint32) << np.uint32(_LOWER)).view(np.float32)
    return logged.reshape(features, candidates).T
