"""How the features of a slate are logged: feature by feature, since many are the same for most candidates, in LZ4.

That is a quarter of the matrix's bytes, for what copying those into spool and log costs.
"""

from __future__ import annotations

import numpy as np
from lz4.block import LZ4BlockError, compress, decompress
from numpy.typing import NDArray

from schemas.slate import PACKED_VERSION, Slate


def packed_features(features: NDArray[np.float32]) -> bytes:
    """Return a feature matrix (c, f) as slates log it; one in Fortran order is not copied before."""
    columns = np.ascontiguousarray(features.T)
    return bytes(compress(columns.view(np.uint8).data, store_size=False)) if columns.size else b""


def slate_features(slate: Slate) -> NDArray[np.float32]:
    """Return the feature matrix (c, f) that a slate has logged, not to be written to.

    Raises:
        ValueError: what it has logged is no matrix of its candidates and features.
    """
    candidates, features = len(slate.candidates), len(slate.feature_names)
    if slate.schema_version < PACKED_VERSION:
        return np.frombuffer(slate.features, np.float32).reshape(candidates, features)
    size = 4 * candidates * features
    try:
        columns = decompress(slate.features, uncompressed_size=size) if size else b""
    except LZ4BlockError as error:
        msg = f"the features of slate {slate.recommendation_id} cannot be unpacked: {error}"
        raise ValueError(msg) from None
    return np.frombuffer(columns, np.float32).reshape(features, candidates).T
