from __future__ import annotations

import msgspec
import numpy as np
import pytest

from online.core.example import Example
from online.models import examination
from online.models.examination import MAX_WEIGHT, PRIOR_CURVE, Examination

SLOTS = 6
PLANTED = np.arange(1, SLOTS + 1) ** -0.7


def example(rng: np.random.Generator, planted: np.ndarray, *, device: str = "phone", base: float = 0.25) -> Example:
    """A slate of which half of the slots were drawn uniformly; the policy put what is liked better into the others."""
    n = len(planted)
    is_uniform = rng.random(n) < 0.5
    likes = np.where(is_uniform, base, 2.5 * base)
    clicked = rng.random(n) < planted * likes
    shares = np.where(is_uniform, 0.9, 0.1)  # what is known of it: nine in ten of the rows that look uniform are
    is_mistaken = rng.random(n) >= 0.9
    clicked = np.where(is_mistaken, rng.random(n) < planted * np.where(is_uniform, 2.5 * base, base), clicked)
    return Example(
        "r", 0, "home", 0.0, "", [], b"", list(range(1, n + 1)), clicked.tolist(), device=device,
        uniform=shares.tolist(),
    )  # fmt: skip


def learned(planted: np.ndarray, slates: int, **kind: str) -> Examination:
    rng, curves = np.random.default_rng(3), Examination()
    for _ in range(slates):
        curves.learn_one(example(rng, planted, **kind))
    return curves


@pytest.mark.parametrize("planted", [PLANTED, np.array([1.0, 0.9, 0.3, 0.8, 0.25, 0.6])])
def test_a_planted_curve_is_recovered_within_a_tenth_also_one_that_rises(planted: np.ndarray) -> None:
    curve = learned(planted, 25_000).curve("home", "phone")[:SLOTS]

    assert curve == pytest.approx(planted, rel=0.1)


def test_what_the_ranker_chose_does_not_count() -> None:
    rng, curves = np.random.default_rng(1), Examination()
    for _ in range(500):
        one = example(rng, PLANTED)
        one.uniform = [0.0] * SLOTS
        curves.learn_one(one)

    assert curves.curve("home", "phone").tolist() == PRIOR_CURVE.tolist()


def test_thin_data_stays_near_the_prior_curve() -> None:
    curve = learned(np.full(SLOTS, 1.0), 5).curve("home", "phone")[:SLOTS]

    assert np.abs(curve - PRIOR_CURVE[:SLOTS]).max() < 0.1


def test_surfaces_and_devices_have_curves_of_their_own_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "MAX_CURVES", 2)
    curves, rng = Examination(), np.random.default_rng(2)
    for _ in range(300):
        for device in ("a", "b", "c", "d"):
            curves.learn_one(example(rng, np.full(SLOTS, 1.0) if device == "a" else PLANTED, device=device))

    assert set(curves.state()) == {"home/a", "home/b", "/"}
    assert curves.curve("home", "a")[4] > curves.curve("home", "b")[4] + 0.2
    assert curves.curve("home", "c").tolist() == curves.curve("home", "d").tolist()


def test_clicked_rows_weigh_what_their_slot_is_looked_at_less_and_no_more_than_ten() -> None:
    one = Example("r", 0, "home", 0.0, "", [], b"", [1, 3, 3, 100], [True, True, False, True])
    curves = learned(np.array([1.0] + [0.01] * 99), 2000)

    assert Examination().weights(one) == pytest.approx([1.0, 2.0, 1.0, 1 / PRIOR_CURVE[99]])
    one.device = "phone"
    assert curves.weights(one)[3] == MAX_WEIGHT


def test_kept_curves_go_on_as_if_they_had_never_stopped() -> None:
    steady = learned(PLANTED, 50)
    kept = Examination(msgspec.json.decode(msgspec.json.encode(steady.state()), type=dict[str, examination.Slots]))
    for curves in (steady, kept):
        curves.learn_one(example(np.random.default_rng(9), PLANTED))

    assert kept.state() == steady.state()
