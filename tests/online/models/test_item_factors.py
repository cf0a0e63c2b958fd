from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from online.models.item_factors import ItemFactors, ItemFactorsConfig, category_vector

Stream = tuple[NDArray[np.int32], NDArray[np.int32]]


def two_clusters(n: int, seed: int = 0) -> Stream:
    """Sessions that stay among rows 0-19 or 20-39; contexts (n, 3) of the clicks before, and items (n,)."""
    random = np.random.default_rng(seed)
    sides = np.repeat(random.integers(0, 2, n // 5 + 1), 5)[:n]
    items = (random.integers(0, 20, n) + 20 * sides).astype(np.int32)
    contexts = np.full((n, 3), -1, np.int32)
    for back in (1, 2, 3):
        within = np.arange(n) % 5 >= back
        contexts[within, back - 1] = items[np.flatnonzero(within) - back]
    return contexts, items


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units @ units.T


def splitmix64(state: int) -> int:
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


class ReferenceItemFactors:
    """Skip-gram with negative sampling, written from the formulas, in float64."""

    def __init__(self, config: ItemFactorsConfig, vectors: NDArray[np.float32]) -> None:
        self.config = config
        self.vectors = vectors.astype(float)
        self.outputs = np.zeros_like(self.vectors)
        self.scales = {"vectors": np.zeros(len(vectors)), "outputs": np.zeros(len(vectors))}
        self.seen: list[int] = []
        self.clicks: list[int] = []
        self.draws = 0

    def learn(self, context: list[int], item: int) -> None:
        self._see(item)
        for other in context:
            if other != item:
                self._see(other)
                self._pair(other, item)
                self._pair(item, other)
        self.clicks.append(item)

    def _see(self, row: int) -> None:
        if row not in self.seen:
            self.seen.append(row)

    def _draw(self) -> int:
        random = splitmix64(self.config.seed ^ splitmix64(self.draws))
        self.draws += 1
        recent = self.clicks[-self.config.recent_clicks :]
        if random >> 32 < self.config.uniform_share * 2**32 or not recent:
            return self.seen[random % 2**31 % len(self.seen)]
        ring = [0] * len(recent)
        for n in range(len(self.clicks) - len(recent), len(self.clicks)):
            ring[n % self.config.recent_clicks] = self.clicks[n]
        return ring[random % 2**31 % len(ring)]

    def _pair(self, center: int, target: int) -> None:
        rows = [target] + [row for row in (self._draw() for _ in range(self.config.negatives)) if row != target]
        total = np.zeros(self.config.dim)
        for n, row in enumerate(rows):
            error = (n == 0) - 1 / (1 + np.exp(-self.vectors[center] @ self.outputs[row]))
            total += error * self.outputs[row]
            self._step(self.outputs, "outputs", row, error * self.vectors[center])
        self._step(self.vectors, "vectors", center, total)

    def _step(self, matrix: NDArray[np.float64], name: str, row: int, gradient: NDArray[np.float64]) -> None:
        scale = self.scales[name]
        scale[row] = 0.999 * scale[row] + np.mean(gradient**2)
        matrix[row] += self.config.learning_rate * gradient / np.sqrt(scale[row] + 1e-12)


def test_steps_are_those_of_the_plain_reference() -> None:
    config = ItemFactorsConfig(dim=6, recent_clicks=32, seed=2**63 + 5, uniform_share=0.3)
    contexts, items = two_clusters(120)
    contexts[7], contexts[8, 0] = items[7], items[8]  # an item is no context of itself
    factors = ItemFactors(config)
    factors.add_item(39, None)
    reference = ReferenceItemFactors(config, factors.vectors)
    factors.learn_many(contexts, items)
    for context, item in zip(contexts.tolist(), items.tolist(), strict=True):
        reference.learn([row for row in context if row >= 0], item)
    np.testing.assert_allclose(factors.vectors, reference.vectors, atol=1e-3)
    np.testing.assert_allclose(factors.state()["outputs"], reference.outputs, atol=1e-3)


def test_items_that_share_sessions_come_to_point_the_same_way() -> None:
    factors = ItemFactors(ItemFactorsConfig())
    factors.learn_many(*two_clusters(10_000))
    cosine = cosines(factors.vectors)
    within = np.concatenate([cosine[:20, :20][~np.eye(20, dtype=bool)], cosine[20:, 20:][~np.eye(20, dtype=bool)]])
    across = cosine[:20, 20:]
    assert within.mean() > across.mean() + 0.5
    neighbours = np.argsort(-(cosine - 2 * np.eye(40)), axis=1)[:, :5]
    assert ((neighbours < 20) == (np.arange(40) < 20)[:, None]).mean() > 0.99


def test_another_seed_gives_another_result() -> None:
    results = []
    for seed in (0, 1):
        factors = ItemFactors(ItemFactorsConfig(seed=seed))
        factors.learn_many(*two_clusters(100))
        results.append(factors.vectors.tobytes())
    assert results[0] != results[1]


def test_a_new_item_starts_near_its_category_and_away_from_others() -> None:
    config = ItemFactorsConfig(seed=3)
    factors = ItemFactors(config)
    for row in range(40):
        factors.add_item(row, category_vector(np.array([row % 2], np.uint64), dim=32, seed=config.seed))
    cosine = cosines(factors.vectors)
    same = (np.arange(40)[:, None] + np.arange(40)) % 2 == 0
    assert cosine[same].mean() > cosine[~same].mean() + 0.5
    assert len(np.unique(factors.vectors, axis=0)) == 40


def test_clicks_move_an_item_out_of_a_wrong_category() -> None:
    factors = ItemFactors(ItemFactorsConfig())
    for row in range(40):
        factors.add_item(row, category_vector(np.array([row == 39], np.uint64), dim=32, seed=0))
    factors.learn_many(*two_clusters(10_000))
    assert cosines(factors.vectors)[39, 20:39].mean() > 0.5


def test_content_of_an_item_already_clicked_changes_nothing() -> None:
    factors = ItemFactors(ItemFactorsConfig())
    factors.learn_one(np.array([1], np.int32), 0)
    before = factors.vectors.tobytes()
    for row in (0, 1):
        factors.add_item(row, np.ones(32, np.float32))
    assert factors.vectors.tobytes() == before


def test_an_items_first_vector_does_not_depend_on_when_the_arrays_grew() -> None:
    early, late = ItemFactors(ItemFactorsConfig()), ItemFactors(ItemFactorsConfig())
    early.add_item(9999, None)
    for row in range(10_000):
        late.add_item(row, None)
    np.testing.assert_array_equal(early.vectors, late.vectors)


def test_vectors_stay_finite_at_an_absurd_rate() -> None:
    factors = ItemFactors(ItemFactorsConfig(learning_rate=10.0))
    factors.learn_many(*two_clusters(20_000))
    assert np.isfinite(factors.vectors).all()


def test_the_first_click_of_a_session_only_makes_the_item_a_negative() -> None:
    factors = ItemFactors(ItemFactorsConfig())
    factors.learn_one(np.empty(0, np.int32), 4)
    untouched = ItemFactors(ItemFactorsConfig())
    untouched.add_item(4, None)
    np.testing.assert_array_equal(factors.vectors, untouched.vectors)
    assert factors.state()["seen"].tolist() == [4]


def test_vectors_cannot_be_written_from_outside() -> None:
    factors = ItemFactors(ItemFactorsConfig())
    factors.add_item(0, None)
    with pytest.raises(ValueError, match="read-only"):
        factors.vectors[0, 0] = 1.0


def test_wrong_arguments_are_refused_and_nothing_is_learned() -> None:
    factors = ItemFactors(ItemFactorsConfig())
    with pytest.raises(ValueError, match="negative"):
        factors.learn_one(np.array([0], np.int32), -1)
    with pytest.raises(ValueError, match="negative"):
        factors.learn_one(np.array([0, -1], np.int32), 1)
    with pytest.raises(ValueError, match="shape"):
        factors.learn_many(np.zeros((2, 3), np.int32), np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="row -1"):
        factors.add_item(-1, None)
    with pytest.raises(ValueError, match="shape"):
        factors.add_item(0, np.ones(31, np.float32))
    with pytest.raises(ValueError, match="finite"):
        factors.add_item(0, np.full(32, np.nan, np.float32))
    with pytest.raises(ValueError, match="positive"):
        ItemFactorsConfig(dim=0)
    assert factors.state()["counters"].tolist() == [0, 0, 0]


def test_a_state_of_another_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="other bounds"):
        ItemFactors.from_state(ItemFactorsConfig(seed=1), ItemFactors(ItemFactorsConfig(seed=2)).state())
