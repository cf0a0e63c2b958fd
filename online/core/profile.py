"""What is known of somebody at a moment: a user record with the item table's rows and codes in place of its names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .item_table import ItemTable
from .kernel import kernel
from .record import Touch, UserRecord
from .session import session_touches


class Affinities(NamedTuple):
    """Affinities to the keys of all facets, facet after facet: those of facet f lie from `bounds[f]` to its successor.

    A share is of the facet's total strength plus one: the added one keeps a single click from looking like a settled
    taste. Those of the fastest half-life are recent, of the slowest lasting.
    """

    codes: NDArray[np.int32]  # (k,) item rows, or codes of the facet; −1 for keys the table does not know
    weights: NDArray[np.float64]  # (k, half-lives) as recorded, against the record's landmark
    shares: NDArray[np.float64]  # (k, 2) recent and lasting, of the moment
    bounds: NDArray[np.int64]  # (len(FACETS) + 1,)

    def of(self, facet: int) -> slice:
        """Return where the keys of a facet lie."""
        return slice(int(self.bounds[facet]), int(self.bounds[facet + 1]))


@dataclass(frozen=True, slots=True)
class Profile:
    """A user record at a moment, its names resolved once for all that reads them."""

    record: UserRecord
    now: float
    affinities: Affinities
    touches: list[Touch]  # of the session open now, oldest first
    touched: NDArray[np.int32]  # rows of the touches, −1 for unknown ones
    recent: NDArray[np.int32]  # rows of what the record has last touched, in any session, −1 for unknown ones
    seen: NDArray[np.int32]  # rows, −1 for unknown ones

    @classmethod
    def of(cls, table: ItemTable, record: UserRecord, now: float) -> Self:
        """Return what a record says at `now`.

        >>> table, record = ItemTable(partitions=1), UserRecord(seen={"a": 1, "gone": 1})
        >>> row = table.row("a")
        >>> Profile.of(table, record, now=0.0).seen.tolist()
        [0, -1]
        """
        touches, known = session_touches(record.recent, now), table.ids.known
        return cls(
            record,
            now,
            _affinities(table, record, now),
            touches,
            known([touch.item_id for touch in touches]),
            known([touch.item_id for touch in record.recent]),
            known(record.seen),
        )


def _affinities(table: ItemTable, record: UserRecord, now: float) -> Affinities:
    tables = record.affinities
    names = (table.ids, table.categories, table.brands, table.tiers)
    bounds = np.cumsum([0, *map(len, tables)])
    found = chain.from_iterable(map(v.codes.get, keys, repeat(-1)) for v, keys in zip(names, tables, strict=True))
    codes = np.fromiter(found, np.int32, bounds[-1])
    numbers = chain.from_iterable(chain.from_iterable(keys.values() for keys in tables))
    weights = np.fromiter(numbers, np.float64, bounds[-1] * table.halves).reshape(-1, table.halves)
    fading = table.decay.fading(now, record.landmark)
    return Affinities(codes, weights, shares(weights, bounds, fading[0], fading[-1]), bounds)


@kernel
def shares(
    weights: NDArray[np.float64], bounds: NDArray[np.int64], recent: float, lasting: float
) -> NDArray[np.float64]:
    """Return shares (k, 2) of weights (k, half-lives), which fade by `recent` and `lasting`; see `Affinities`.

    >>> shares(np.array([[2.0, 2.0], [1.0, 1.0]]), np.array([0, 2]), 1.0, 0.5).tolist()
    [[0.5, 0.4], [0.25, 0.2]]
    """
    found = np.empty((len(weights), 2))
    slowest = weights.shape[1] - 1
    for facet in range(len(bounds) - 1):
        total_recent = total_lasting = 1.0
        for i in range(bounds[facet], bounds[facet + 1]):
            found[i, 0], found[i, 1] = weights[i, 0] * recent, weights[i, slowest] * lasting
            total_recent += abs(found[i, 0])
            total_lasting += abs(found[i, 1])
        for i in range(bounds[facet], bounds[facet + 1]):
            found[i, 0] /= total_recent
            found[i, 1] /= total_lasting
    return found
