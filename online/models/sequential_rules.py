"""Sequential rules: what follows an item in sessions, what precedes it, and what those come with.

Sources: Kamehkhosh, Jannach, Ludewig, "A Comparison of Frequent Pattern Techniques and a Deep Learning Method for
Session-Based Recommendation" (RecTemp 2017), sequential rules: a click adds 1/steps to the rule from each item clicked
that many steps before it. Here both directions are kept, weights halve with time, and the weakest rule of a full item
makes room: so each click costs a few additions, and memory is bounded. Two hops are the second step of a random walk
over both directions, as of Cooper et al., "Random Walks in Recommender Systems" (WWW 2014): they reach what no session
has had together yet.

Shares are of an item's weights plus a prior of half a fresh click, so that a rule seen once is no certainty, and one
not seen for long fades.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from online.core.decay import DAY_S
from online.core.kernel import extended
from online.models.sequential_rules_kernel import HELD, RECENT, Rules, follow, learn


@dataclass(frozen=True, slots=True)
class SequentialRulesConfig:
    """Bounds and decay.

    width: rules kept per item, both directions together; depth: steps back that a click is learned from;
    half_life_s: of rules; recent_half_life_s: of an item's recent clicks.

    Raises:
        ValueError: one of them is not positive.
    """

    width: int = 64
    depth: int = 10
    half_life_s: float = 30 * DAY_S
    recent_half_life_s: float = DAY_S

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.half_life_s, self.recent_half_life_s) <= 0:
            msg = f"bounds and half-lives of rules must be positive: {self}"
            raise ValueError(msg)


class Followers(NamedTuple):
    """Candidates by rules and their shares, a column each for: after the session's last item, before it, after earlier
    items, before them, over two hops."""

    rows: NDArray[np.int32]  # (c,)
    shares: NDArray[np.float64]  # (c, 5)


class SequentialRules:
    """Rules between items that follow each other; items are dense rows.

    >>> rules = SequentialRules(SequentialRulesConfig())
    >>> for item in (4, 7):
    ...     rules.learn_one(np.array([3], np.int32), item, timestamp=0.0)
    >>> rules.learn_one(np.array([3], np.int32), 4, timestamp=0.0)
    >>> found = rules.query(np.array([3], np.int32), now=0.0, limit=10)
    >>> found.rows.tolist(), found.shares[:, 0].round(2).tolist()
    ([4, 7, 3], [0.57, 0.29, 0.0])
    """

    def __init__(self, config: SequentialRulesConfig) -> None:
        self.config = config
        self._rules = _empty(64, 4 * config.depth * config.width)

    def learn_one(self, context: NDArray[np.int32], item: int, timestamp: float) -> None:
        """Learn that row `item` was clicked after `context`, the session's distinct rows, oldest first.

        Raises:
            ValueError: the row is negative.
        """
        self.learn_many(context[np.newaxis], np.array([item], np.int32), np.array([timestamp]))

    def learn_many(
        self, contexts: NDArray[np.int32], items: NDArray[np.int32], timestamps: NDArray[np.float64]
    ) -> None:
        """Learn clicks in order, as `learn_one` would one by one.

        Args:
            contexts: the distinct rows before each click, oldest first, padded with -1 in front: (n, any width).
            items: the rows clicked, (n,).
            timestamps: epoch seconds, (n,).

        Raises:
            ValueError: a row clicked is negative (nothing is learned), or the lengths differ.
        """
        if not len(contexts) == len(items) == len(timestamps):
            msg = f"lengths differ: {len(contexts)} contexts, {len(items)} items, {len(timestamps)} timestamps"
            raise ValueError(msg)
        if not len(items):
            return
        if items.min() < 0:
            msg = f"an item row is negative: {items.min()}"
            raise ValueError(msg)
        config = self.config
        before = np.ascontiguousarray(contexts[:, -config.depth :], np.int32)
        self._know(1 + max(int(items.max()), int(before.max(initial=0))))
        rows, times, done = np.array(items, np.int32), np.array(timestamps, np.float64), 0
        decay = config.half_life_s, config.recent_half_life_s
        while (done := learn(self._rules, before, rows, times, config.width, *decay, done)) < len(rows):
            self._grow()

    def _know(self, n_items: int) -> None:
        rules = self._rules
        known = len(rules.times)
        if n_items > known:
            more = max(n_items, 2 * known)
            self._rules = rules._replace(
                blocks=extended(rules.blocks, more),
                times=extended(rules.times, more),
                clicks=extended(rules.clicks, more),
            )

    def _grow(self) -> None:
        rules, capacity = self._rules, 2 * len(self._rules.items)
        self._rules = rules._replace(
            items=extended(rules.items, capacity),
            forward=extended(rules.forward, capacity),
            backward=extended(rules.backward, capacity),
        )

    def query(self, context: NDArray[np.int32], *, now: float, limit: int) -> Followers:
        """Return up to `limit` candidates for a session of distinct rows, oldest first, in no order.

        Raises:
            ValueError: `limit` is not positive.
        """
        if limit < 1:
            msg = f"limit must be positive, not {limit}"
            raise ValueError(msg)
        return Followers(*follow(self._rules, np.array(context, np.int32), now, self.config.half_life_s, limit))

    @property
    def clicks(self) -> NDArray[np.float64]:
        """The decayed number of recent clicks on each row, and the epoch seconds as of which: (rows, 2)."""
        return self._rules.clicks

    def excerpt(self, rows: NDArray[np.int32]) -> Rules:
        """Return a copy of what is known of some rows, for `put_back`: arrays as those of the rules, row by row."""
        self._know(1 + int(rows.max(initial=0)))
        rules = self._rules
        entries = _entries(rules.blocks[rows])
        return Rules(
            rules.items[entries],
            rules.forward[entries],
            rules.backward[entries],
            rules.blocks[rows],
            rules.times[rows],
            rules.clicks[rows],
            rules.used.copy(),
        )

    def put_back(self, rows: NDArray[np.int32], excerpt: Rules) -> None:
        """Make rows what they were, if nothing but these rows has been learned since the excerpt was taken."""
        rules, entries = self._rules, _entries(excerpt.blocks)
        rules.items[entries], rules.forward[entries] = excerpt.items, excerpt.forward
        rules.backward[entries], rules.used[:] = excerpt.backward, excerpt.used
        rules.blocks[rows], rules.times[rows], rules.clicks[rows] = excerpt.blocks, excerpt.times, excerpt.clicks

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays (copies, no longer than what is in use)."""
        rules = self._rules
        known = np.flatnonzero((rules.clicks[:, RECENT] > 0.0) | (rules.blocks[:, HELD] > 0))
        n_items = int(known[-1]) + 1 if len(known) else 0
        used = int(rules.used[0])
        ends = {"items": used, "forward": used, "backward": used, "used": 1}
        return {name: array[: ends.get(name, n_items)].copy() for name, array in rules._asdict().items()}

    @classmethod
    def from_state(cls, config: SequentialRulesConfig, state: Mapping[str, NDArray[np.generic]]) -> Self:
        """Return rules that go on where `state` was taken."""
        rules = cls(config)
        spare = dict.fromkeys(("items", "forward", "backward"), 2 * config.depth * config.width)
        arrays = {
            name: extended(state[name].astype(empty.dtype), len(state[name]) + spare.get(name, 0))
            for name, empty in rules._rules._asdict().items()
        }
        rules._rules = Rules(**arrays)
        return rules


def _empty(n_items: int, capacity: int) -> Rules:
    return Rules(
        items=np.zeros(capacity, np.int32),
        forward=np.zeros(capacity, np.float32),
        backward=np.zeros(capacity, np.float32),
        blocks=np.zeros((n_items, 3), np.int64),
        times=np.zeros(n_items),
        clicks=np.zeros((n_items, 2)),
        used=np.zeros(1, np.int64),
    )


def _entries(blocks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where in the arena the blocks lie."""
    places: list[NDArray[np.int64]] = [np.arange(first, first + size) for first, size, _ in blocks.tolist()]
    return np.concatenate([np.empty(0, np.int64), *places])
