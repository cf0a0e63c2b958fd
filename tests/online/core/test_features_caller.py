from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from online.core.features import INDEX, Retrieved, Scene, gather
from online.core.item_table import ItemTable
from online.core.profile import Profile
from online.core.rates import Rates
from online.core.record import TYPE_CODES, Touch, UserRecord

T0 = 1_700_000_000.0
LIST = ("a", "b", "c", "d", "e")
PRICES = np.array([100.0, 50.0, 0.0, 200.0, 100.0])


def features(*touches: tuple[float, str, str], listed: NDArray[np.float64] | None = PRICES) -> dict[str, list[float]]:
    table = ItemTable(1)
    rows = np.array([table.row(item) for item in LIST], np.int32)
    table.row("elsewhere")
    record = UserRecord(recent=[Touch(T0 + at, item, TYPE_CODES[kind], 7) for at, item, kind in touches])
    profile = Profile.of(table, record, T0 + 120.0)
    scene = Scene(table, Rates(table), Retrieved.unsourced(rows), profile, np.empty(0, np.int32), listed=listed)
    matrix = gather(scene)
    return {name: matrix[:, column].tolist() for name, column in INDEX.items()}


def test_the_callers_order_is_a_feature_three_times() -> None:
    found = features()

    assert found["caller_rank"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert found["caller_log_rank"] == pytest.approx(-np.log([1, 2, 3, 4, 5]))
    assert found["caller_first"] == [1, 0, 0, 0, 0]


def test_a_list_of_which_nothing_was_touched_last_says_so() -> None:
    assert features()["caller_rank_untouched"] == features()["caller_rank"]
    assert features((0.0, "elsewhere", "view"))["caller_rank_untouched"][0] == 1.0
    assert features((0.0, "b", "view"))["caller_rank_untouched"] == [0.0] * 5


def test_neighbours_of_what_was_touched_last_are_told_by_their_distance_and_side() -> None:
    found = features((0.0, "e", "view"), (10.0, "c", "view"))

    assert found["below_last"] == [0, 0, 0, 1, 0.5]
    assert found["above_last"] == [0.5, 1, 0, 0, 0]
    assert found["passed"] == [1, 1, 0, 0, 0]


def test_prices_count_against_the_median_of_the_list_and_that_of_the_item_touched_last() -> None:
    found = features((0.0, "a", "view"))

    assert found["list_price"] == pytest.approx([0.0, -np.log(2), 0.0, np.log(2), 0.0])
    assert found["last_price_gap"] == pytest.approx([0.0, np.log(2), 0.0, np.log(2), 0.0])


def test_a_list_without_prices_has_no_price_features() -> None:
    found = features((0.0, "a", "view"), listed=np.zeros(5))

    assert (found["list_price"], found["last_price_gap"]) == ([0.0] * 5, [0.0] * 5)


def test_candidates_that_retrieval_found_have_no_callers_order() -> None:
    found = features((0.0, "b", "view"), listed=None)

    for name in ("caller_rank", "caller_log_rank", "caller_first", "below_last", "passed", "list_price"):
        assert found[name] == [0.0] * 5
    assert found["viewed_rank"] == [0, 1, 0, 0, 0]


def test_touches_tell_their_place_their_age_their_number_and_whether_the_last_was_a_click() -> None:
    found = features((0.0, "b", "click"), (60.0, "a", "view"), (60.0, "elsewhere", "view"), (90.0, "b", "click"))

    assert found["clicked_rank"] == pytest.approx([0, 1, 0, 0, 0])
    assert found["clicked_fresh"] == pytest.approx([0, 1 / 1.5, 0, 0, 0])
    assert found["viewed_rank"] == pytest.approx([1 / 3, 0, 0, 0, 0])
    assert found["viewed_fresh"] == pytest.approx([0.5, 0, 0, 0, 0])
    assert found["touches"] == pytest.approx(np.log1p([1, 2, 0, 0, 0]))


def test_touches_of_a_session_that_is_over_say_nothing() -> None:
    found = features((-4000.0, "b", "click"))

    assert not any(found["clicked_rank"])
    assert found["caller_rank_untouched"] == found["caller_rank"]
