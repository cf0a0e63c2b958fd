"""Sequential rules in plain Python: dictionaries of (forward, backward) weights, each click's times kept apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence


class ReferenceRules:
    """The same rules as `SequentialRules`, without its bound on the rules of an item."""

    def __init__(self, *, depth: int, half_life_s: float) -> None:
        self.depth, self.half_life_s = depth, half_life_s
        self.rules: defaultdict[int, defaultdict[int, list[tuple[float, float, float]]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def learn(self, context: Sequence[int], item: int, time: float) -> None:
        for steps, before in enumerate(list(reversed(context))[: self.depth], start=1):
            if before != item:
                self.rules[before][item].append((1 / steps, 0.0, time))
                self.rules[item][before].append((0.0, 1 / steps, time))
            elif steps == 1:
                self.rules[item][item].append((1.0, 0.0, time))

    def weights(self, item: int, now: float) -> dict[int, tuple[float, float]]:
        found = {}
        for other, parts in self.rules.get(item, {}).items():
            fading = [2.0 ** ((time - now) / self.half_life_s) for _, _, time in parts]
            found[other] = (
                sum(ahead * f for (ahead, _, _), f in zip(parts, fading, strict=True)),
                sum(behind * f for (_, behind, _), f in zip(parts, fading, strict=True)),
            )
        return found

    def query(self, context: Sequence[int], now: float) -> dict[int, list[float]]:
        found: dict[int, list[float]] = {}
        for back, item in enumerate(list(reversed(context))[:6]):
            weights = self.weights(item, now)
            sums = [sum(pair[side] for pair in weights.values()) for side in (0, 1)]
            for other, pair in weights.items():
                if other not in found and back >= 2:
                    continue
                shares = found.setdefault(other, [0.0] * 5)
                for side in (0, 1):
                    share = pair[side] / (sums[side] + 0.5)
                    shares[side + 2 * (back > 0)] += share * (0.6 ** (back - 1) if back else 1.0)
        for back, item in enumerate(list(reversed(context))[:3]):
            for via, hop in self.companions(item, now).items():
                if via == item or hop < 0.005:
                    continue
                for other, second in self.companions(via, now).items():
                    if other != via and hop * second >= 0.0005:
                        found.setdefault(other, [0.0] * 5)[4] += 0.6**back * hop * second
        return found

    def companions(self, item: int, now: float) -> dict[int, float]:
        weights = self.weights(item, now)
        total = sum(map(sum, weights.values())) + 1.0
        return {other: sum(pair) / total for other, pair in weights.items()}
