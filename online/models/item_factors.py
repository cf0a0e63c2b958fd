"""Streaming item vectors: skip-gram with negative sampling over the clicks of a session.

Sources: Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality" (NIPS 2013);
Barkan, Koenigstein, "Item2Vec" (2016). Here each click is learned once, when it comes, against the session's few
items before it, in both directions, so that a new item's vector moves with its first click. Steps are those of
AdaGrad (Duchi, Hazan, Singer, JMLR 2011) with one scale per row: rare items take long steps, and none diverges; the
scale slowly forgets, so that popular items never stop following their shoppers.

Negatives are drawn from q = (1 - uniform_share) x recent popularity + uniform_share / items, which flattens the
popularity much as the paper's exponent 0.75 does. At the optimum, vector_i . output_j = log P(j | i) - log(k q(j)):
who scores by that product adds log q(j) back (the log-probability correction); cosines between vectors need none,
since the correction lies in the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import extended, splitmix64
from online.models.item_factors_kernel import Factors, hashed, learn

_CONTENT_NORM = 1.0  # half of a trained vector, so that clicks soon outweigh the category
_NOISE_NORM = 0.5  # leaves a cosine of 0.8 between new items of one category


@dataclass(frozen=True, slots=True)
class ItemFactorsConfig:
    """Sizes and rates.

    dim: length of a vector; learning_rate: of the first step; negatives: per positive (the k of the formula);
    recent_clicks: the ring that stands for current popularity; uniform_share: of the negatives; seed: of everything
    that looks random.

    Raises:
        ValueError: a size or rate is out of range.
    """

    dim: int = 32
    learning_rate: float = 0.2
    negatives: int = 5
    recent_clicks: int = 65_536
    uniform_share: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        sizes_fit = min(self.dim, self.negatives, self.recent_clicks) >= 1 and 0 <= self.seed < 2**64
        if not sizes_fit or self.learning_rate <= 0 or not 0 <= self.uniform_share <= 1:
            msg = f"sizes and rates of item factors must be positive, the share in [0, 1]: {self}"
            raise ValueError(msg)


class ItemFactors:
    """Vectors of items: those that share sessions come to point the same way. Items are dense rows.

    >>> factors = ItemFactors(ItemFactorsConfig(dim=8))
    >>> for n in range(2000):
    ...     factors.learn_one(np.array([n % 2], np.int32), 2 + n % 2)  # 2 follows 0, and 3 follows 1
    >>> unit = factors.vectors / np.linalg.norm(factors.vectors, axis=1, keepdims=True)
    >>> bool(unit[0] @ unit[2] > unit[0] @ unit[3])
    True
    """

    def __init__(self, config: ItemFactorsConfig) -> None:
        self.config = config
        self._n_items = 0
        self._factors = Factors(
            vectors=np.zeros((0, config.dim), np.float32),
            outputs=np.zeros((0, config.dim), np.float32),
            vector_scale=np.zeros(0, np.float32),
            output_scale=np.zeros(0, np.float32),
            is_seen=np.zeros(0, np.bool_),
            seen=np.zeros(0, np.int32),
            recent=np.zeros(config.recent_clicks, np.int32),
            counters=np.zeros(3, np.int64),
        )

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors, (n_items, dim): a read-only view that later learning changes; copy it to keep it."""
        view = self._factors.vectors[: self._n_items]
        view.flags.writeable = False
        return view

    def add_item(self, row: int, content: NDArray[np.float32] | None) -> None:
        """Place an item that no click has reached yet; later calls for it change nothing.

        `content` (dim,) is the direction of its content, such as `category_vector`; without one (or a zero one) the
        vector is a hash of the row.

        Raises:
            ValueError: the row is negative, or the content has another shape or is not finite.
        """
        if row < 0 or (content is not None and content.shape != (self.config.dim,)):
            msg = f"an item needs a row from 0 on and content of shape ({self.config.dim},): row {row}"
            raise ValueError(msg)
        self._grow(row + 1)
        if content is None or self._factors.is_seen[row]:
            return
        norm = float(np.linalg.norm(content))
        if not np.isfinite(norm):
            msg = f"the content of row {row} is not finite"
            raise ValueError(msg)
        direction = content / norm if norm > 0 else np.zeros_like(content)
        self._factors.vectors[row] = _CONTENT_NORM * direction + self._noise(row, row + 1)[0]

    def learn_one(self, context: NDArray[np.int32], item: int) -> None:
        """Learn one click on row `item`, given the few rows the session clicked before it (any number, even none).

        Raises:
            ValueError: a row is negative.
        """
        if len(context) and context.min() < 0:
            msg = f"an item row is negative: {context.min()}"
            raise ValueError(msg)
        self.learn_many(context[np.newaxis], np.array([item], np.int32))

    def learn_many(self, contexts: NDArray[np.int32], items: NDArray[np.int32]) -> None:
        """Learn clicks in order, as `learn_one` would one by one: contexts (n, width) padded with -1, items (n,).

        Raises:
            ValueError: the lengths differ, an item row is negative or a context row below -1 (nothing is learned).
        """
        if contexts.ndim != 2 or len(contexts) != len(items):
            msg = f"contexts have shape {contexts.shape}, not ({len(items)}, width)"
            raise ValueError(msg)
        if not len(items):
            return
        if items.min() < 0 or (contexts.size and contexts.min() < -1):
            msg = "an item row is negative"
            raise ValueError(msg)
        self._grow(1 + max(int(items.max()), int(contexts.max()) if contexts.size else 0))
        config = self.config
        learn(
            self._factors,
            np.array(contexts, np.int32, order="C"),  # copies: any other layout or a read-only array
            np.array(items, np.int32),  # would have the kernel compiled anew for it
            config.learning_rate,
            config.negatives,
            config.uniform_share,
            np.uint64(config.seed),
        )

    def _grow(self, n_items: int) -> None:
        old = len(self._factors.seen)
        self._n_items = max(self._n_items, n_items)
        if n_items <= old:
            return
        new = max(n_items, 2 * old, 64)
        factors = self._factors
        per_row = ("outputs", "vector_scale", "output_scale", "is_seen", "seen")
        self._factors = factors._replace(
            vectors=np.concatenate([factors.vectors, self._noise(old, new)]),
            **{name: extended(getattr(factors, name), new) for name in per_row},
        )

    def _noise(self, first: int, last: int) -> NDArray[np.float32]:
        rows = np.arange(first, last, dtype=np.uint64)
        return np.float32(_NOISE_NORM) * hashed(rows, self.config.dim, np.uint64(self.config.seed))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the state as arrays (copies, no longer than what is in use)."""
        n, factors = self._n_items, self._factors
        _, clicks, seen = factors.counters
        return {
            "vectors": factors.vectors[:n].copy(),
            "outputs": factors.outputs[:n].copy(),
            "vector_scale": factors.vector_scale[:n].copy(),
            "output_scale": factors.output_scale[:n].copy(),
            "is_seen": factors.is_seen[:n].copy(),
            "seen": factors.seen[:seen].copy(),
            "recent": factors.recent[:clicks].copy(),
            "counters": factors.counters.copy(),
            "bounds": _bounds(self.config),
        }

    @classmethod
    def from_state(cls, config: ItemFactorsConfig, state: Mapping[str, NDArray[np.generic]]) -> Self:
        """Return a learner that goes on where `state` was taken.

        Raises:
            ValueError: the state was taken with another dim, ring or seed.
        """
        if not np.array_equal(state["bounds"], _bounds(config)):
            msg = f"the state has other bounds, {state['bounds']} (dim, recent_clicks, seed), than {config}"
            raise ValueError(msg)
        learner = cls(config)
        learner._grow(len(state["vectors"]))
        for name in Factors._fields:
            getattr(learner._factors, name)[: len(state[name])] = state[name]
        return learner


def category_vector(codes: NDArray[np.uint64], *, dim: int, seed: int) -> NDArray[np.float32]:
    """Return the mean of the unit vectors that 64-bit category codes hash to, shape (dim,); zeros for no code.

    >>> shoes, boots = (category_vector(np.array([c], np.uint64), dim=32, seed=0) for c in (7, 8))
    >>> both = category_vector(np.array([7, 8], np.uint64), dim=32, seed=0)
    >>> np.allclose(both, (shoes + boots) / 2)
    True
    """
    if not len(codes):
        return np.zeros(dim, np.float32)
    salted = np.uint64(splitmix64(np.uint64(seed)))  # so that category 7 and row 7 do not share a vector
    return np.asarray(hashed(np.array(codes, np.uint64), dim, salted).mean(axis=0), np.float32)


def _bounds(config: ItemFactorsConfig) -> NDArray[np.uint64]:
    return np.array([config.dim, config.recent_clicks, config.seed], np.uint64)
