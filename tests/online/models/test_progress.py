from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from online.models.progress import MEMORY, Progress, Quality, quality


def flags(*clicked: int) -> NDArray[np.bool_]:
    return np.array(clicked, bool)


def test_the_figures_of_a_slate() -> None:
    one = quality(np.array([1.0, 0.0, -1.0, -2.0]), flags(0, 1, 0, 1), np.ones(4))

    assert one.log_loss == pytest.approx(np.mean(np.log1p(np.exp([1.0, 0.0, -1.0, 2.0]))))
    assert one.auc == pytest.approx(1 / 4)
    assert one.ndcg == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)))


@pytest.mark.parametrize("clicked", [flags(0, 0), flags(1, 1)])
def test_a_slate_without_two_kinds_of_rows_tells_no_order(clicked: NDArray[np.bool_]) -> None:
    assert quality(np.zeros(2), clicked, np.ones(2))[1:] == (None, None)


def test_a_clicked_row_gains_its_weight() -> None:
    weights = np.array([1.0, 4.0, 1.0])
    first, second = (quality(np.array(u), flags(1, 1, 0), weights).ndcg for u in ([2.0, 1.0, 0.0], [1.0, 2.0, 0.0]))

    assert second == 1.0
    assert first is not None
    assert first < 1.0


def test_old_slates_fade() -> None:
    progress = Progress()
    progress.learn_one(Quality(1.0, 1.0, None))
    progress.learn_one(Quality(0.0, None, 1.0))

    figures = progress.figures()
    assert figures["log_loss"] == pytest.approx(MEMORY / (1 + MEMORY))
    assert (figures["slates"], figures["auc"], figures["ndcg"]) == (2, 1.0, 1.0)
