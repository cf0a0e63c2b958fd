"""The item arrays of a serving worker: a fold of catalogue items and update messages, gathered per request."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from schemas.item import Item, price_tier

from .decay import Decay
from .item_stats import ItemStats
from .record import TYPE_CODES
from .update import Update

CATEGORIES_PER_ITEM = REGIONS_PER_ITEM = 4  # of those of an item, the first ones count for ranking
GROWTH = 1024

_COUNTED = tuple(TYPE_CODES[t] for t in ("impression", "click", "add_to_cart", "purchase"))


class Vocabulary:
    """Dense codes of strings, in order of first sight; −1 stands for none."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.names: list[str] = []

    def code(self, name: str | None) -> int:
        """Return the code of a name, giving it the next one when it is new.

        >>> vocabulary = Vocabulary()
        >>> vocabulary.code("a"), vocabulary.code("b"), vocabulary.code("a"), vocabulary.code(None)
        (0, 1, 0, -1)
        """
        if name is None:
            return -1
        code = self.codes.get(name)
        if code is None:
            code = len(self.names)
            self.names.append(name)  # first: whoever reads the code finds the name
            self.codes[name] = code
        return code

    def known(self, names: Collection[str]) -> NDArray[np.int32]:
        """Return the codes of names in their order, −1 for one that has none: (len(names),).

        >>> Vocabulary().known(["a"]).tolist()
        [-1]
        """
        return np.fromiter(map(self.codes.get, names, repeat(-1)), np.int32, len(names))

    def __len__(self) -> int:
        return len(self.names)


class ItemTable:
    """Everything ranking reads of items, one row each. Rows are never reused: a deleted item stays, ineligible.

    Arrays have spare capacity; only the first `len(table)` rows count. `statistics[p, row]` holds partition p's
    popularity per half-life, then decayed impressions, clicks, carts and purchases, against `landmark`, and last the
    popularity that does not decay; `totals` is their sum over partitions in fixed order.
    """

    def __init__(self, partitions: int, decay: Decay | None = None) -> None:
        self.decay = decay or Decay()
        self.landmark = 0.0
        self.ids = Vocabulary()
        self.categories, self.brands, self.tiers = Vocabulary(), Vocabulary(), Vocabulary()
        self.regions, self.owners, self.groups = Vocabulary(), Vocabulary(), Vocabulary()
        self.documents: dict[str, Item] = {}
        self.halves = len(self.decay.rates)
        width = self.halves + len(_COUNTED) + 1
        self.statistics = np.zeros((partitions, GROWTH, width))
        self.totals = np.zeros((GROWTH, width))
        self.category = np.full((GROWTH, CATEGORIES_PER_ITEM), -1, np.int32)
        self.brand = np.full(GROWTH, -1, np.int32)
        self.tier = np.full(GROWTH, -1, np.int32)
        self.owner = np.full(GROWTH, -1, np.int32)
        self.group = np.full(GROWTH, -1, np.int32)  # of variants
        self.region = np.full((GROWTH, REGIONS_PER_ITEM), -1, np.int32)
        self.log_price = np.full(GROWTH, np.nan)
        self.available_from = np.full(GROWTH, np.inf)  # an item without a document is shown to nobody
        self.available_to = np.full(GROWTH, np.inf)
        self.created = np.full(GROWTH, np.inf)
        self.applied: dict[int, int] = {}  # partition -> seq of the last update
        self.received = 0.0  # the latest `received_at` in the aggregates
        self.version = 0  # changes with everything that changes a row

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, item_id: str) -> int:
        """Return the item's row, adding one when it is new."""
        if len(self.ids) == len(self.brand) and item_id not in self.ids.codes:
            self._grow()  # before the id is known: a request may look at it at any moment
        return self.ids.code(item_id)

    def rows(self, items: Iterable[str]) -> NDArray[np.int32]:
        """Return the rows of those items that are known, in their order."""
        codes = self.ids.codes
        return np.array([codes[item] for item in items if item in codes], np.int32)

    def _grow(self) -> None:
        more = len(self.brand)
        for name, fill in (
            ("totals", 0.0), ("category", -1), ("brand", -1), ("tier", -1), ("owner", -1), ("group", -1),
            ("region", -1), ("log_price", np.nan),
            ("available_from", np.inf), ("available_to", np.inf), ("created", np.inf),
        ):  # fmt: skip
            array: NDArray[np.float64] = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.full((more, *array.shape[1:]), fill, array.dtype)]))
        spare = np.zeros((self.statistics.shape[0], more, self.statistics.shape[2]))
        self.statistics = np.concatenate([self.statistics, spare], axis=1)

    def put(self, item: Item) -> None:
        """Apply a catalogue document or tombstone; the last one in log order stands."""
        row = self.row(item.item_id)
        self.documents[item.item_id] = item
        shown = item.available and not item.deleted
        self.available_from[row] = (item.available_from or 0.0) if shown else np.inf
        self.available_to[row] = np.inf if item.available_to is None else item.available_to
        codes = [self.categories.code(c) for c in item.categories[:CATEGORIES_PER_ITEM]]
        self.category[row] = codes + [-1] * (CATEGORIES_PER_ITEM - len(codes))
        self.brand[row] = self.brands.code(item.brand)
        self.tier[row] = self.tiers.code(price_tier(item.price))
        self.owner[row] = self.owners.code(item.owner_id)
        self.group[row] = self.groups.code(item.group_id)
        regions = [self.regions.code(r) for r in item.regions[:REGIONS_PER_ITEM]]
        self.region[row] = regions + [-1] * (REGIONS_PER_ITEM - len(regions))
        self.log_price[row] = np.log(item.price) if item.price else np.nan
        self.created[row] = item.created_at
        self.version += 1

    def apply(self, update: Update) -> bool:
        """Apply an update of one partition; return False for a repeated message, which changes nothing."""
        if update.seq <= self.applied.get(update.partition, 0):
            return False
        self.applied[update.partition] = update.seq
        for item_id, stats in update.items.items():
            self.put_statistics(update.partition, item_id, stats)
        self.version += 1
        return True

    def put_statistics(self, partition: int, item_id: str, stats: ItemStats) -> None:
        """Set what one partition says about an item."""
        if stats.landmark > self.landmark:
            self._rebase(stats.landmark)
        self.received = max(self.received, stats.received)
        row = self.row(item_id)
        values = self.statistics[partition, row]
        behind = self.landmark - stats.landmark
        factors = [np.exp(-rate * behind) for rate in self.decay.rates] if behind else [1.0] * self.halves
        for i, weight in enumerate(stats.popularity):
            values[i] = weight * factors[i]
        for i, code in enumerate(_COUNTED, start=self.halves):
            values[i] = stats.counts.get(code, 0.0) * factors[-1]
        values[-1] = stats.total
        self.totals[row] = self.statistics[:, row].sum(axis=0)
        self.created[row] = min(self.created[row], stats.first_time)

    def _rebase(self, landmark: float) -> None:
        factors = np.exp(-np.array(self.decay.rates) * (landmark - self.landmark))
        scale = np.concatenate([factors, np.repeat(factors[-1], len(_COUNTED)), [1.0]])
        self.statistics *= scale
        self.totals *= scale
        self.landmark = landmark

    def popularity(self, now: float) -> NDArray[np.float64]:
        """Return the popularity of all rows at `now`, one column per half-life, fastest first: (n, half-lives)."""
        return self.totals[: len(self), : self.halves] * self.fading(now)

    def impressions(self, rows: NDArray[np.int32], now: float) -> NDArray[np.float64]:
        """Return the decayed impressions of rows at `now`, shape (len(rows),)."""
        counted: NDArray[np.float64] = self.totals[rows, self.halves] * self.fading(now)[-1]
        return counted

    def standing(self, rows: NDArray[np.int32], now: float) -> NDArray[np.float64]:
        """Return the logarithmic popularity of rows, that of days and that of all their time added up.

        Either alone fails somewhere: where little happens, days hold nearly nothing, and where fashions change the past
        misleads. In a sum of logarithms the one that tells items apart decides.
        """
        middle = self.halves // 2
        logs: NDArray[np.float64] = np.log1p(self.totals[rows, middle] * self.fading(now)[middle])
        logs += np.log1p(self.totals[rows, -1])
        return logs

    def fading(self, now: float) -> NDArray[np.float64]:
        """Return what popularity totals are multiplied by to count at `now`: (half-lives,).

        Two grid steps behind the stream's landmark they fade no more: a recorded past still has its popular items.
        """
        return np.array(self.decay.fading(min(now, self.landmark + 2 * self.decay.grid_s), self.landmark))

    def is_eligible(self, rows: NDArray[np.int32], now: float) -> NDArray[np.bool_]:
        """Say which rows may be shown at `now`."""
        return (self.available_from[rows] <= now) & (now < self.available_to[rows])

    def facets(self, item_id: str) -> tuple[list[str], str | None, str | None]:
        """Return (categories, brand, price tier) of an item, as ingest stamps them into events."""
        item = self.documents.get(item_id)
        if item is None:
            return [], None, None
        return item.categories, item.brand, price_tier(item.price)
