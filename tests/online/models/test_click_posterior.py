from __future__ import annotations

import numpy as np
import pytest

from online.models.click_posterior import MEMORY, PRIOR_PRECISION, ClickPosterior


def test_the_root_is_lower_triangular_and_of_the_covariance_of_what_was_learned() -> None:
    rng = np.random.default_rng(1)
    x, p = rng.normal(size=(30, 4)), rng.uniform(0.1, 0.9, 30)
    posterior = ClickPosterior(4)
    posterior.learn_one(x, p)

    root = posterior.root()

    precision = PRIOR_PRECISION * np.eye(4) + sum(q * (1 - q) * np.outer(r, r) for r, q in zip(x, p, strict=True))
    assert root == pytest.approx(np.tril(root))
    assert root @ root.T == pytest.approx(np.linalg.inv(precision), rel=1e-6)


def test_what_was_never_varied_stays_as_uncertain_as_before() -> None:
    posterior = ClickPosterior(2)
    for _ in range(100):
        posterior.learn_one(np.array([[1.0, 0.0]]), np.array([0.5]))

    covariance = posterior.root() @ posterior.root().T
    assert covariance[1, 1] == pytest.approx(1.0)
    assert covariance[0, 0] < 0.05


def test_the_precision_is_bounded_because_the_past_fades() -> None:
    posterior = ClickPosterior(1)
    for _ in range(60_000):
        posterior.learn_one(np.ones((1, 1)), np.array([0.5]))

    assert posterior.precision[0, 0] == pytest.approx(PRIOR_PRECISION + 0.25 / (1 - MEMORY), rel=0.01)
