"""Sample ratio: do variants have the shares of the units that they are to have? Looked at whenever one likes."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum, lgamma, log

CONCENTRATION = 1000.0
"""Of the prior around the shares that are asked for: it is best at what is a few percent off."""


def ratio_p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return a p-value of shares that stays valid however often one looks.

    It is one over the Bayes factor of the multinomial against a Dirichlet prior with its mean at the shares (Lindon &
    Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022): under the shares that factor is a
    martingale, which ever exceeds 1/p with probability p at most.

    Args:
        counts: units by variant.
        shares: the shares asked for; they add up to 1.

    >>> ratio_p_value([500, 500], [0.5, 0.5]), ratio_p_value([600, 400], [0.5, 0.5]) < 1e-3
    (1.0, True)
    """
    prior = [CONCENTRATION * share for share in shares]
    evidence = fsum(
        lgamma(a + n) - lgamma(a) - n * log(share) for a, n, share in zip(prior, counts, shares, strict=True)
    )
    evidence += lgamma(CONCENTRATION) - lgamma(CONCENTRATION + sum(counts))
    return min(1.0, exp(-evidence)) if evidence > 0.0 else 1.0
