from __future__ import annotations

import numpy as np
import pytest
from example_slate import example_slate

from online.core.policy import SlotPolicy, draw_slate
from online.core.propensity import uniform_shares
from schemas.slate import Slate


def drawn(utilities: list[float], eligible: list[bool], n: int, policy: SlotPolicy, seed: int = 1) -> Slate:
    values, mask = np.array(utilities), np.array(eligible)
    draw = draw_slate(values, np.full((len(values), 2), -1, np.int32), mask, n, policy, seed)
    return example_slate(
        utilities=values.tobytes(),
        eligible=mask.astype(np.uint8).tobytes(),
        epsilon=policy.epsilon,
        slots=draw.slots.tolist(),
        propensities=draw.propensities.tolist(),
    )


def test_equal_utilities_come_from_the_uniform_part_as_often_as_it_is_asked() -> None:
    slate = drawn([1.0] * 6, [True] * 5 + [False], 4, SlotPolicy(epsilon=0.2))

    assert uniform_shares(slate) == pytest.approx([0.2] * 4)


def test_what_the_softmax_never_draws_came_from_the_uniform_part() -> None:
    slate = drawn([100.0, 0.0], [True, True], 2, SlotPolicy(epsilon=0.5))
    favourite = slate.slots.index(0)

    assert uniform_shares(slate)[favourite] == pytest.approx(0.25 / 0.75 if favourite == 0 else 0.5)
    assert uniform_shares(slate)[1 - favourite] == pytest.approx(0.5 if favourite == 0 else 1.0)


def test_without_a_uniform_part_nothing_comes_from_it() -> None:
    assert uniform_shares(drawn([1.0, 2.0], [True, True], 2, SlotPolicy(epsilon=0.0))).tolist() == [0.0, 0.0]
    assert len(uniform_shares(example_slate())) == 0
