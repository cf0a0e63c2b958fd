"""What is known of somebody at a moment: a user record with the item table's rows and codes in place of its names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import accumulate, chain, repeat
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .item_table import ItemTable, Vocabulary
from .kernel import kernel
from .record import FACETS, Touch, UserRecord
from .session import session_touches


class Affinities(NamedTuple):
    """Affinities to the keys of all facets, facet after facet: those of facet f lie from `bounds[f]` to its successor.

    A share is of the facet's total strength plus one: the added one keeps a single click from looking like a settled
    taste. Those of the fastest half-life are recent, of the slowest lasting.
    """

    codes: NDArray[np.int32]  # (k,) item rows, or codes of the facet, each once; −1 for keys the table does not know
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
    def of(cls, table: ItemTable, record: UserRecord, now: float, session: int | None = None) -> Self:
        """Return what a record says at `now`, whether or not its tables have what its touches weigh.

        `session` is the one that is wanted (see `session_touches`).

        >>> table, record = ItemTable(partitions=1), UserRecord(seen={"a": 1, "gone": 1})
        >>> row = table.row("a")
        >>> Profile.of(table, record, now=0.0).seen.tolist()
        [0, -1]
        """
        known, touches = table.ids.known, session_touches(record.recent, now, session)
        return cls(
            record,
            now,
            _affinities(table, record, now),
            touches,
            known([touch.item_id for touch in touches]),
            known([touch.item_id for touch in record.recent]),
            known([*record.seen, *(touch.item_id for touch in record.recent if touch.weight)]),
        )

    def without_past(self) -> Self:
        """Return the profile of somebody who has no affinities."""
        return replace(self, affinities=_NO_AFFINITIES)


def _affinities(table: ItemTable, record: UserRecord, now: float) -> Affinities:
    tables, names = record.affinities, (table.ids, table.categories, table.brands, table.tiers)
    bounds = _bounds(tables)
    codes = _codes(names, tables)
    numbers = chain.from_iterable(chain.from_iterable(keys.values() for keys in tables))
    weights = np.fromiter(numbers, np.float64, bounds[-1] * table.halves).reshape(-1, table.halves)
    touches = [touch for touch in record.recent if touch.weight]  # the tables do not have these yet
    if touches:
        said, owners = _said(touches), _owners(touches)
        times, values = np.array([t.time for t in touches]), np.array([t.weight for t in touches])
        grown = np.exp(np.multiply.outer(times - record.landmark, table.decay.rates)) * values[:, None]
        codes, weights, bounds = _united(codes, weights, bounds, _codes(names, said), grown[owners], _bounds(said))
    fading = table.decay.fading(now, record.landmark)
    return Affinities(codes, weights, shares(weights, bounds, fading[0], fading[-1]), bounds)


def _codes(names: Sequence[Vocabulary], facets: Iterable[Iterable[str]]) -> NDArray[np.int32]:
    """Return the codes of what facets name, one facet after another, −1 for names without one."""
    found = (map(v.codes.get, keys, repeat(-1)) for v, keys in zip(names, facets, strict=True))
    return np.fromiter(chain.from_iterable(found), np.int32)


def _bounds(facets: Iterable[Sized]) -> NDArray[np.int64]:
    return np.array([0, *accumulate(map(len, facets))])


def _said(touches: Sequence[Touch]) -> list[list[str]]:
    """Return what touches name, facet after facet."""
    return [
        [t.item_id for t in touches],
        [category for t in touches for category in t.categories],
        [t.brand for t in touches if t.brand],
        [t.price_tier for t in touches if t.price_tier],
    ]


def _owners(touches: Sequence[Touch]) -> list[int]:
    """Return the place of the touch that names it, for each that `_said` has."""
    return [
        *range(len(touches)),
        *(i for i, t in enumerate(touches) for _ in t.categories),
        *(i for i, t in enumerate(touches) if t.brand),
        *(i for i, t in enumerate(touches) if t.price_tier),
    ]


@kernel
def _united(
    codes: NDArray[np.int32],  # (k,)
    weights: NDArray[np.float64],  # (k, half-lives)
    bounds: NDArray[np.int64],  # (facets + 1,)
    said: NDArray[np.int32],  # (s,)
    values: NDArray[np.float64],  # (s, half-lives)
    said_bounds: NDArray[np.int64],  # (facets + 1,)
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """Return codes and weights with what was said added: each known code of a facet once."""
    room = len(codes) + len(said)
    all_codes, sums, ends = np.empty(room, np.int32), np.empty((room, weights.shape[1])), bounds.copy()
    n = 0
    for facet in range(len(bounds) - 1):
        first = n
        for i in range(bounds[facet], bounds[facet + 1]):
            all_codes[n], sums[n] = codes[i], weights[i]
            n += 1
        for i in range(said_bounds[facet], said_bounds[facet + 1]):
            at = first
            while at < n and (all_codes[at] != said[i] or said[i] < 0):
                at += 1
            if at == n:
                all_codes[n], sums[n] = said[i], 0.0
                n += 1
            sums[at] += values[i]
        ends[facet + 1] = n
    return all_codes[:n].copy(), sums[:n].copy(), ends


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


_NO_AFFINITIES = Affinities(
    np.empty(0, np.int32), np.empty((0, 1)), np.empty((0, 2)), np.zeros(len(FACETS) + 1, np.int64)
)
