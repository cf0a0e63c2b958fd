"""What the features of one request read: candidates as retrieval found them, and the states at the request's moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.item_table import ItemTable
from online.core.policy_document import SOURCES
from online.core.profile import Profile
from online.core.rates import Rates
from online.core.step import Context


class Retrieved(NamedTuple):
    """What retrieval found: candidate rows, each once, and what each source says of them; columns as `SOURCES`."""

    rows: NDArray[np.int32]  # (c,)
    scores: NDArray[np.float64]  # (c, s), 0 where a source did not find the candidate
    ranks: NDArray[np.int32]  # (c, s), 1 for a source's best, 0 where it did not find the candidate
    odds: NDArray[np.float64]  # (c,) log-odds to be next in the session, the likeliest 0; −inf where not known

    @classmethod
    def unsourced(cls, rows: NDArray[np.int32]) -> Retrieved:
        """Return candidates that no source has found."""
        shape = (len(rows), len(SOURCES))
        return cls(rows, np.zeros(shape), np.zeros(shape, np.int32), np.full(len(rows), -np.inf))

    @classmethod
    def listed(cls, rows: NDArray[np.int32], source: int) -> Retrieved:
        """Return candidates that one source has named in this order."""
        found = cls.unsourced(rows)
        found.ranks[:, source] = np.arange(1, len(rows) + 1)
        return found

    def only(self, rows: NDArray[np.int32]) -> Retrieved:
        """Return what sources say of some rows, in their order; these are in order of row. Their odds are not known.

        >>> found = Retrieved.listed(np.array([3, 7], np.int32), source=2)
        >>> found.only(np.array([7, 5], np.int32)).ranks[:, 2].tolist()
        [2, 0]
        """
        only = Retrieved.unsourced(rows)
        if len(self.rows):
            at = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
            is_there = self.rows[at] == rows
            only.scores[is_there], only.ranks[is_there] = self.scores[at[is_there]], self.ranks[at[is_there]]
        return only

    def joined(self, others: Retrieved) -> Retrieved:
        """Return these candidates followed by others."""
        return Retrieved(
            np.concatenate([self.rows, others.rows]),
            np.concatenate([self.scores, others.scores]),
            np.concatenate([self.ranks, others.ranks]),
            np.concatenate([self.odds, others.odds]),
        )

    def source_bits(self) -> NDArray[np.uint8]:
        """Return each candidate's set of sources (c, ceil(s / 8)): source i is bit i % 8 of byte i // 8.

        >>> found = Retrieved.unsourced(np.array([7], np.int32))
        >>> found.ranks[0, 2] = 1
        >>> found.source_bits().tolist()[0][0]
        4
        """
        return np.packbits(self.ranks > 0, axis=1, bitorder="little")


@dataclass(frozen=True, slots=True)
class Scene:
    """One request's view of the states; nothing in it is changed."""

    table: ItemTable
    rates: Rates
    found: Retrieved
    profile: Profile  # of the moment ranked for
    session: NDArray[np.int32]  # rows of the session's items, oldest first
    context: Context = field(default_factory=dict)  # of the request
    untaught: float = 0.0  # what an opinion formed before any click is still worth, see `SessionBlend`
    listed: NDArray[np.float64] | None = None  # (c,) prices of a list in the caller's order, 0 where unknown
