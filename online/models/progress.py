"""Progressive validation: what a ranker said of a slate's rows before any of them was learned, and what happened."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEMORY = 0.999  # share of the old mean that each slate leaves


class Quality(NamedTuple):
    """How well utilities told one slate's clicks; ranks are None where all or none of its rows were clicked."""

    log_loss: float
    auc: float | None
    ndcg: float | None


def quality(utilities: Floats, clicked: NDArray[np.bool_], weights: Floats) -> Quality:
    """Return the mean log-loss of the rows, the share of pairs in the right order, and the NDCG of the order.

    In the NDCG a clicked row gains its weight, 1 / examination: a ranker is not to win by putting first what another
    had shown first. Equal utilities are ordered as the worst of them.

    >>> quality(np.array([0.0, 0.0]), np.array([False, True]), np.ones(2))
    Quality(log_loss=0.6931471805599453, auc=0.5, ndcg=0.6309297535714575)
    """
    log_loss = float(np.mean(np.logaddexp(0.0, np.where(clicked, -utilities, utilities))))
    if not clicked.any() or clicked.all():
        return Quality(log_loss, None, None)
    ahead = utilities[clicked][:, None] - utilities[~clicked]
    auc = float(np.mean((ahead > 0) + 0.5 * (ahead == 0)))
    gains = weights * clicked
    order = np.lexsort((gains, -utilities))
    discounts = 1.0 / np.log2(np.arange(2, len(gains) + 2))
    ndcg = float(gains[order] @ discounts / (np.sort(gains)[::-1] @ discounts))
    return Quality(log_loss, auc, ndcg)


class FadingMean(msgspec.Struct):
    """A mean of which old values fade; the first counts for no more than any other.

    >>> mean = FadingMean()
    >>> for value in (1.0, 0.0):
    ...     mean.learn_one(value)
    >>> round(mean.get(), 3)
    0.5
    """

    total: float = 0.0
    weight: float = 0.0

    def learn_one(self, value: float) -> None:
        """Absorb a value."""
        self.total = MEMORY * self.total + value
        self.weight = MEMORY * self.weight + 1.0

    def get(self) -> float | None:
        """Return the mean; None before the first value."""
        return self.total / self.weight if self.weight else None


class Progress(msgspec.Struct):
    """What slates have said of a ranker."""

    slates: int = 0
    log_loss: FadingMean = msgspec.field(default_factory=FadingMean)
    auc: FadingMean = msgspec.field(default_factory=FadingMean)
    ndcg: FadingMean = msgspec.field(default_factory=FadingMean)

    def learn_one(self, one: Quality) -> None:
        """Absorb the quality of one slate."""
        self.slates += 1
        for mean, value in zip((self.log_loss, self.auc, self.ndcg), one, strict=True):
            if value is not None:
                mean.learn_one(value)

    def figures(self) -> dict[str, int | float | None]:
        """Return the means by name.

        >>> progress = Progress()
        >>> progress.learn_one(Quality(0.5, None, None))
        >>> progress.figures()
        {'slates': 1, 'log_loss': 0.5, 'auc': None, 'ndcg': None}
        """
        means = {"log_loss": self.log_loss.get(), "auc": self.auc.get(), "ndcg": self.ndcg.get()}
        return {"slates": self.slates, **means}
