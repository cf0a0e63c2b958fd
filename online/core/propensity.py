"""What a logged slate says about its own draw: from which part of the mixture each slot came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.slate import Slate


def uniform_shares(slate: Slate) -> NDArray[np.float64]:
    """Return, per slot, P(drawn from the uniform part | chosen), shape (n,): (ε / open candidates) / propensity.

    What the uniform part draws does not depend on what the ranker thinks, so rows weighted by these shares tell how
    slots differ rather than how items do.
    """
    left = np.count_nonzero(np.frombuffer(slate.eligible, np.uint8)) - np.arange(len(slate.slots))
    shares: NDArray[np.float64] = slate.epsilon / (left * np.array(slate.propensities, np.float64))
    return shares
