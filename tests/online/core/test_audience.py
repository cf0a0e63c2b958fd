from __future__ import annotations

import random

import pytest

from online.core.audience import AUDIENCE_ITEMS, AUDIENCES, AUDIENCES_OF_ONE, LISTED, Audiences, audiences_of
from online.core.decay import DAY_S

T0 = 1_700_000_000.0


def folded(touches: list[tuple[tuple[str, ...], int, float]]) -> Audiences:
    audiences = Audiences()
    for names, row, time in touches:
        audiences.learn_one(names, row, time)
    return audiences


def test_numbers_long_texts_and_what_is_too_much_make_no_audience() -> None:
    assert audiences_of({"age": 7, "height": 1.8, "note": "x" * 65, "gone": None}) == ()
    assert len(audiences_of({f"l{n}": "de" for n in range(64)})) == AUDIENCES_OF_ONE


def test_an_audience_likes_what_it_touches_more_than_everybody_does() -> None:
    touches = [(("a",), 1, T0)] * 30 + [(("b",), 2, T0)] * 30 + [((), 3, T0)] * 300 + [(("a",), 3, T0)] * 30

    liked = folded(touches).lists(T0)

    assert liked["a"].rows.tolist() == [1]
    assert liked["b"].rows.tolist() == [2]


def test_what_few_tell_is_shrunk_to_what_all_of_them_tell() -> None:
    crowd = [((), 3, T0)] * 1000
    few, many = (folded([*crowd, *[(("a",), 1, T0)] * n]).lists(T0)["a"].lift[0] for n in (2, 200))

    assert 0.0 < few < 0.2 < many


def test_what_is_long_ago_tells_less() -> None:
    liked = folded([(("a",), 1, T0)] * 40 + [((), 2, T0)] * 40)

    assert liked.lists(T0 + 90 * DAY_S)["a"].lift[0] < 0.5 * liked.lists(T0)["a"].lift[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_touches_does_not_matter(seed: int) -> None:
    rng = random.Random(seed)
    touches = [((f"a{rng.randrange(4)}",), rng.randrange(30), T0 + rng.uniform(0.0, 400.0) * DAY_S) for _ in range(500)]
    shuffled = rng.sample(touches, len(touches))
    now = T0 + 400 * DAY_S

    one, other = folded(touches).lists(now), folded(shuffled).lists(now)

    assert one.keys() == other.keys()
    for name, liked in one.items():
        assert liked.rows.tolist() == other[name].rows.tolist()
        assert liked.lift == pytest.approx(other[name].lift, rel=1e-9)


def test_audiences_and_their_items_are_bounded_and_the_strong_stay() -> None:
    many = [((f"a{n}",), n, T0) for n in range(1000)]
    audiences = folded([(("strong",), 0, T0)] * 5 + many + [(("strong",), n, T0) for n in range(5000)])

    assert len(audiences) <= AUDIENCES + 1
    assert len(audiences.lists(T0)["strong"].rows) <= LISTED <= AUDIENCE_ITEMS
