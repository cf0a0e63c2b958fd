from __future__ import annotations

import numpy as np
import pytest

from online.core.policy import uniforms
from online.core.thompson import normals, weight_shift
from schemas.slate import MAX_SLATE


def test_the_numbers_are_standard_normal_and_differ_by_seed() -> None:
    many = np.concatenate([normals(seed, 9) for seed in range(4000)])

    assert many.mean() == pytest.approx(0.0, abs=0.02)
    assert many.std() == pytest.approx(1.0, abs=0.02)
    assert (np.abs(many) < 1.96).mean() == pytest.approx(0.95, abs=0.01)
    assert normals(1, 9).tolist() == normals(1, 9).tolist() != normals(2, 9).tolist()


def test_they_owe_nothing_to_the_numbers_of_the_slots() -> None:
    together = np.array([[uniforms(seed, 1)[0], normals(seed, 1)[0]] for seed in range(4000)])

    assert np.corrcoef(together.T)[0, 1] == pytest.approx(0.0, abs=0.06)
    assert uniforms(5, MAX_SLATE + 2)[:MAX_SLATE].tolist() == uniforms(5, MAX_SLATE).tolist()


def test_shifts_have_the_covariance_of_the_root_times_the_scale() -> None:
    root = np.array([[0.5, 0.0, 0.0], [0.3, 0.2, 0.0], [-0.4, 0.1, 1.0]])

    shifts = np.array([weight_shift(root, 2.0, seed) for seed in range(8000)])

    assert np.cov(shifts.T) == pytest.approx(4.0 * root @ root.T, abs=0.15)
    assert weight_shift(root, 0.0, 1).tolist() == [0.0, 0.0, 0.0]
