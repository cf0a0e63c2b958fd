"""Next items of sessions: every prefix of every test session is a case, its target the next item.

Ranked are all items of train; streaming, all seen so far. A target never seen is a miss. `repeats` allowed: any item
may be next. Excluded: the item the session is at is in no list, and a case whose target it is counts as a miss.

Static models learn train only. Streaming, each test click is predicted, then learned, in time order. What streaming
gains over static is split with a third model: static, plus the clicks so far of the case's own session, folded into the
rules and learned by the blend (the index never answers a session with itself). `own_session_gain` is what that
one gains over static, `other_sessions_gain` what streaming gains over that one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.models.sequential_rules import SequentialRules, SequentialRulesConfig
from online.models.session_blend import SessionBlend, SessionBlendConfig
from online.models.session_candidates import SessionCandidates, distinct
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.models.session_learner import Click, SessionLearner, fold_clicks
from replay.ranking_metrics import bootstrap_mean

K = 20
OURS, BASELINES = "blend", ("popularity", "sequential_rules", "session_knn")
MODELS = (OURS, *BASELINES)
REPORT_EVERY = 2000

Rows = NDArray[np.int32]
Report = Callable[[str, int, int], None]
"""(what, done, of how many)"""


class Clicks(NamedTuple):
    """Clicks in time order; items are dense rows in order of first sight over train and test."""

    sessions: NDArray[np.uint64]  # (n,) keys
    rows: Rows  # (n,)
    times: NDArray[np.float64]  # (n,) epoch seconds


class Ranks:
    """The rank of each case's target, 0 for a miss, and which items were shown: by model."""

    def __init__(self, cases: int, n_items: int) -> None:
        self.ranks = {model: np.zeros(cases, np.int64) for model in MODELS}
        self._shown = {model: np.zeros(n_items, np.bool_) for model in MODELS}

    @property
    def ours(self) -> NDArray[np.int64]:
        """The ranks of the blend."""
        return self.ranks[OURS]

    def note(self, model: str, case: int, ranked: Rows, target: int) -> None:
        """Keep a list, best first, against its target."""
        top = ranked[:K]
        self._shown[model][top] = True
        at = np.flatnonzero(top == target)
        self.ranks[model][case] = at[0] + 1 if len(at) else 0

    def figures(self, model: str, sessions: NDArray[np.int64], seed: int) -> dict[str, Any]:
        """Return a model's figures with intervals over sessions."""
        ranks = self.ranks[model]
        found: dict[str, Any] = {"n": len(ranks)}
        for name, values in (("hr", hits(ranks)), ("mrr", reciprocals(ranks)), ("ndcg", discounts(ranks))):
            interval = bootstrap_mean(values, sessions.tolist(), seed=seed)
            found[f"{name}@{K}"] = round(interval.mean, 5)
            found[f"{name}@{K}_ci"] = [round(interval.low, 5), round(interval.high, 5)]
        found["coverage"] = round(float(self._shown[model].mean()), 5)
        return found


def hits(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 for a target found, 0 for a miss (rank 0)."""
    return (ranks > 0).astype(np.float64)


def reciprocals(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return 1 / rank, 0 for a miss.

    >>> reciprocals(np.array([0, 1, 4])).tolist()
    [0.0, 1.0, 0.25]
    """
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)


def discounts(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the NDCG of one relevant item at a rank, 0 for a miss."""
    return np.where(ranks > 0, 1.0 / np.log2(np.maximum(ranks, 1) + 1.0), 0.0)


class Case(NamedTuple):
    """A prefix of a session and the click behind it."""

    number: int
    session: int
    prefix: Rows
    target: int
    time: float


class SessionEvaluation:
    """Learns train, then scores sessions behind it.

    Args:
        train: what is learned first.
        n_items: rows of train; higher rows are items it does not have.
        sessions: that the index keeps.
        repeats: whether the item a session is at may be next.
        report: told what is being done.
    """

    def __init__(self, train: Clicks, n_items: int, *, sessions: int, repeats: bool, report: Report) -> None:
        self._n_items, self._repeats, self._report = n_items, repeats, report
        self._config = SessionKnnConfig(sessions=sessions)
        self._learner = SessionLearner(
            SessionKnn(self._config),
            SequentialRules(SequentialRulesConfig()),
            SessionBlend(SessionBlendConfig(repeats=repeats)),
        )
        self._counts = np.bincount(train.rows, minlength=n_items)
        for first in range(0, len(train.rows), REPORT_EVERY):
            report("learning", first, len(train.rows))
            columns = [column[first : first + REPORT_EVERY].tolist() for column in train]
            self._learner.learn_many([Click(*click) for click in zip(*columns, strict=True)])

    def static(self, test: Clicks) -> Ranks:
        """Score test with what train has taught, learning nothing."""
        ranks, popular = Ranks(*self._size(test)), best(self._counts)
        for case in self._noted("scoring", test):
            self._note(ranks, case, self._learner, popular, None)
        return ranks

    def own(self, test: Clicks) -> Ranks:
        """Score test by models that learn, beside train, nothing but the case's own session; the blend alone."""
        ranks = Ranks(*self._size(test))
        rules = self._learner.rules
        for cases in by_session(test):
            touched = distinct(np.append(cases[0].prefix, [case.target for case in cases]).astype(np.int32))
            before, blend = rules.excerpt(touched), self._learner.blend
            learner = SessionLearner(self._learner.knn, rules, blend.copy())
            rules.learn_one(np.empty(0, np.int32), int(cases[0].prefix[0]), cases[0].time)
            for case in cases:
                context = distinct(case.prefix)
                found = learner.candidates(context, len(case.prefix), case.time)
                ranks.note(OURS, case.number, self._listed(learner.ranked(found, context), case), case.target)
                learner.learn_blend(found, context, case.target)
                rules.learn_one(context, case.target, case.time)
            rules.put_back(touched, before)
        return ranks

    def streaming(self, test: Clicks) -> Ranks:
        """Score each click of test, then learn it, in time order; the models here stay as train left them."""
        learner = self._copy()
        ranks = Ranks(*self._size(test))
        counts = np.zeros(1 + int(max(test.rows.max(), self._n_items - 1)), np.int64)
        counts[: self._n_items] = self._counts
        numbers = {(case.session, len(case.prefix)): case for cases in by_session(test) for case in cases}
        steps: defaultdict[int, int] = defaultdict(int)
        for n, (session, row, time) in enumerate(zip(*(column.tolist() for column in test), strict=True)):
            case = numbers.get((session, steps[session]))
            steps[session] += 1
            if case is not None:
                found = self._note(ranks, case, learner, best(counts), session)
                learner.learn_blend(found, distinct(case.prefix), row)
            fold_clicks(learner.knn, learner.rules, [Click(session, row, time)])
            counts[row] += 1
            if n % REPORT_EVERY == 0:
                self._report("streaming", n, len(test.rows))
        return ranks

    def _size(self, test: Clicks) -> tuple[int, int]:
        return len(test.rows) - len(np.unique(test.sessions)), 1 + int(max(test.rows.max(), self._n_items - 1))

    def _copy(self) -> SessionLearner:
        knn = SessionKnn.from_state(self._config, self._learner.knn.state())
        rules = SequentialRules.from_state(self._learner.rules.config, self._learner.rules.state())
        return SessionLearner(knn, rules, self._learner.blend.copy())

    def _noted(self, what: str, test: Clicks) -> Iterator[Case]:
        cases, _ = self._size(test)
        for of_session in by_session(test):
            for case in of_session:
                if case.number % REPORT_EVERY == 0:
                    self._report(what, case.number, cases)
                yield case

    def _note(
        self, ranks: Ranks, case: Case, learner: SessionLearner, popular: Rows, own: int | None
    ) -> SessionCandidates:
        context = distinct(case.prefix)
        found = learner.candidates(context, len(case.prefix), case.time, own)
        for model, ranked in (
            (OURS, learner.ranked(found, context)),
            ("popularity", popular),
            ("sequential_rules", found.by_rules),
            ("session_knn", found.by_knn),
        ):
            ranks.note(model, case.number, self._listed(ranked, case, is_static=own is None), case.target)
        return found

    def _listed(self, ranked: Rows, case: Case, *, is_static: bool = False) -> Rows:
        if is_static:
            ranked = ranked[ranked < self._n_items]
        return ranked if self._repeats else ranked[ranked != case.prefix[-1]]


def best(counts: NDArray[np.int64]) -> Rows:
    """Return the rows of the highest counts, one more than a list needs, best first, ties by row.

    >>> best(np.array([1, 5, 0, 5])).tolist()
    [1, 3, 0, 2]
    """
    top = np.argpartition(-counts, K)[: K + 1] if len(counts) > K + 1 else np.arange(len(counts))
    return top[np.lexsort((top, -counts[top]))].astype(np.int32)


def by_session(test: Clicks) -> Iterator[list[Case]]:
    """Yield the cases of each session that has any, numbered in this order; sessions by their keys.

    >>> clicks = Clicks(np.array([1, 2, 1], np.uint64), np.array([7, 8, 9], np.int32), np.array([0.0, 1.0, 2.0]))
    >>> [[(case.prefix.tolist(), case.target) for case in cases] for cases in by_session(clicks)]
    [[([7], 9)]]
    """
    order = np.argsort(test.sessions, kind="stable")
    keys, starts = np.unique(test.sessions[order], return_index=True)
    number = 0
    for key, first, last in zip(keys.tolist(), starts, [*starts[1:], len(order)], strict=True):
        rows, times = test.rows[order[first:last]], test.times[order[first:last]]
        cases = [
            Case(number + n - 1, key, rows[:n], target, time)
            for n, (target, time) in enumerate(zip(rows.tolist(), times.tolist(), strict=True))
            if n > 0
        ]
        number += len(cases)
        if cases:
            yield cases


def session_numbers(test: Clicks) -> NDArray[np.int64]:
    """Return the number of the session of each case, in the order of `by_session`."""
    _, counts = np.unique(test.sessions, return_counts=True)
    return np.repeat(np.arange(len(counts)), counts - 1)


def gain(
    name: str, after: NDArray[np.int64], before: NDArray[np.int64], sessions: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """Return the paired difference of ranks in MRR, and in the hit rate, with intervals over sessions."""
    found: dict[str, Any] = {}
    for key, measure in ((name, reciprocals), (f"{name}_hr", hits)):
        interval = bootstrap_mean(measure(after) - measure(before), sessions.tolist(), seed=seed)
        found |= {key: round(interval.mean, 5), f"{key}_ci": [round(interval.low, 5), round(interval.high, 5)]}
    return found


def document(ranks: Ranks, sessions: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """Return the figures of the blend, and under `baselines` those of each model alone."""
    figures = {model: ranks.figures(model, sessions, seed) for model in MODELS}
    return {**figures[OURS], "baselines": {name: figures[name] for name in BASELINES}}
