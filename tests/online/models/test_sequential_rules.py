from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from online.models.sequential_rules import SequentialRules, SequentialRulesConfig
from online.models.session_candidates import distinct


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ReferenceRules = _sibling("sequential_rules_reference").ReferenceRules

CONFIG = SequentialRulesConfig(depth=3, half_life_s=50.0)
Click = tuple[list[int], int, float]
contexts = st.lists(st.integers(0, 11), max_size=6, unique=True)
streams = st.lists(st.tuples(contexts, st.integers(0, 11), st.integers(0, 300).map(float)), max_size=60)


def learned(stream: list[Click], config: SequentialRulesConfig = CONFIG) -> SequentialRules:
    rules = SequentialRules(config)
    for context, item, time in stream:
        rules.learn_one(np.array(context, np.int32), item, time)
    return rules


@settings(max_examples=150, deadline=None)
@given(streams, contexts)
def test_any_stream_gives_what_the_reference_gives(stream: list[Click], context: list[int]) -> None:
    rules, reference = learned(stream), ReferenceRules(depth=3, half_life_s=50.0)
    for click in stream:
        reference.learn(*click)

    found = rules.query(np.array(context, np.int32), now=300.0, limit=100)
    expected = reference.query(context, 300.0)
    # a share next to one of the thresholds may fall on either side of it
    for row, shares in zip(found.rows.tolist(), found.shares.tolist(), strict=True):
        assert shares == pytest.approx(expected.get(row, [0.0] * 5), rel=1e-4, abs=6e-4)
    assert {row for row, shares in expected.items() if max(shares) > 1e-3} <= set(found.rows.tolist())


@settings(max_examples=50, deadline=None)
@given(streams, contexts)
def test_rules_restored_answer_as_those_they_were_taken_from(stream: list[Click], context: list[int]) -> None:
    rules = learned(stream)
    restored = SequentialRules.from_state(CONFIG, rules.state())
    for one in (rules, restored):
        one.learn_one(np.array([1, 2], np.int32), 40, 310.0)
    asked = [one.query(np.array([*context, 40], np.int32), now=320.0, limit=50) for one in (rules, restored)]
    np.testing.assert_array_equal(asked[0].rows, asked[1].rows)
    np.testing.assert_array_equal(asked[0].shares, asked[1].shares)


@settings(max_examples=100, deadline=None)
@given(streams, streams)
def test_rows_put_back_are_what_they_were(stream: list[Click], later: list[Click]) -> None:
    rules = learned(stream)
    before = rules.state()
    touched = np.unique([row for context, item, _ in later for row in (*context, item)]).astype(np.int32)
    excerpt = rules.excerpt(touched)
    for context, item, time in later:
        rules.learn_one(np.array(context, np.int32), item, time)
    rules.put_back(touched, excerpt)
    for name, array in rules.state().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_clicks_learned_together_leave_what_they_leave_one_by_one() -> None:
    random, config = np.random.default_rng(8), SequentialRulesConfig(depth=4, width=16)
    contexts = np.array([random.permutation(300)[:6] for _ in range(2000)], np.int32)
    contexts[np.arange(6) < random.integers(7, size=(2000, 1))] = -1
    items, times = random.integers(300, size=2000).astype(np.int32), random.random(2000) * 1000.0
    together, one_by_one = SequentialRules(config), SequentialRules(config)
    together.learn_many(contexts, items, times)
    for context, item, time in zip(contexts, items.tolist(), times.tolist(), strict=True):
        one_by_one.learn_one(context[context >= 0], item, time)
    for name, array in one_by_one.state().items():
        np.testing.assert_array_equal(array, together.state()[name], err_msg=name)


def test_a_full_item_forgets_its_weakest_rule() -> None:
    rules = SequentialRules(SequentialRulesConfig(width=20))
    for n in range(20):
        for _ in range(1 if n == 7 else 2):
            rules.learn_one(np.array([50], np.int32), n, float(n))
    rules.learn_one(np.array([50], np.int32), 30, 20.0)
    found = rules.query(np.array([50], np.int32), now=20.0, limit=100)
    follow = set(found.rows[found.shares[:, 0] > 0.0].tolist())
    assert follow == {*range(20), 30} - {7}


def test_arenas_hold_no_more_than_the_width_of_each_item_twice() -> None:
    config = SequentialRulesConfig(width=16, depth=2)
    rules = learned([([n % 40], (n * 7) % 40, float(n)) for n in range(4000)], config)
    assert rules.state()["used"][0] <= 40 * 2 * 16


def test_recent_clicks_halve_with_time_whatever_the_order() -> None:
    config = SequentialRulesConfig(recent_half_life_s=10.0)
    for times in ([0.0, 10.0], [10.0, 0.0]):
        rules = learned([([], 3, time) for time in times], config)
        (clicks, as_of), other = rules.clicks[3], rules.clicks[4]
        assert clicks * 2.0 ** (-(20.0 - as_of) / 10.0) == pytest.approx(0.75)
        assert other[0] == 0.0


def test_the_last_item_of_a_context_tells_most_and_the_context_is_by_last_clicks() -> None:
    rules = learned([([1, 2], 3, 0.0), ([2, 1], 4, 0.0)], SequentialRulesConfig())
    found = rules.query(distinct(np.array([1, 2, 1], np.int32)), now=0.0, limit=9)
    share = dict(zip(found.rows.tolist(), found.shares[:, 0].tolist(), strict=True))
    assert share[4] > share[3] > 0.0


def test_wrong_arguments_are_refused() -> None:
    rules = SequentialRules(CONFIG)
    with pytest.raises(ValueError, match="negative: -1"):
        rules.learn_one(np.array([1], np.int32), -1, 0.0)
    with pytest.raises(ValueError, match="lengths differ"):
        rules.learn_many(np.zeros((2, 1), np.int32), np.zeros(1, np.int32), np.zeros(1))
    with pytest.raises(ValueError, match="limit"):
        rules.query(np.array([1], np.int32), now=0.0, limit=0)
    with pytest.raises(ValueError, match="positive"):
        SequentialRulesConfig(width=0)
