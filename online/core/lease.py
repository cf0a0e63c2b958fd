"""Who of a flow's processes keeps which partitions: everyone decides alike from the same roster."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Roster = Mapping[str, frozenset[int]]
"""Living member -> the partitions it holds; no partition is held twice."""


def shares(roster: Roster, partitions: Collection[int]) -> dict[str, frozenset[int]]:
    """Return the partitions that each member is to keep: as many as every other, or one more, and few moved.

    A member keeps what it holds up to its share and gives up its highest partitions beyond it. What is free goes, in
    order, to those who hold too little; what is still held by another is nobody's else until it is given up.

    >>> shares({"a": frozenset({0, 1, 2, 3}), "b": frozenset()}, range(4))
    {'a': frozenset({0, 1}), 'b': frozenset()}
    >>> shares({"a": frozenset({0, 1}), "b": frozenset()}, range(4))["b"]
    frozenset({2, 3})
    """
    least, more = divmod(len(partitions), max(len(roster), 1))
    wanted = frozenset(partitions)
    by_holding = sorted(roster, key=lambda member: (-len(roster[member] & wanted), member))
    kept = {
        member: sorted(roster[member] & wanted)[: least + (place < more)] for place, member in enumerate(by_holding)
    }
    free = iter(sorted(wanted.difference(*roster.values())))
    for place, member in enumerate(by_holding):
        missing = least + (place < more) - len(kept[member])
        kept[member] += [partition for _, partition in zip(range(missing), free, strict=False)]
    return {member: frozenset(kept[member]) for member in sorted(roster)}
