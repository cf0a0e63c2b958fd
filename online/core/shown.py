"""When a user was shown items: the latest times of each, in whatever order the events come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHOWINGS = 4  # of an item that are remembered: nobody tires of it more than that

Shown = dict[str, list[int]]
"""Item -> whole seconds of its latest showings, ascending."""


def add_showings(shown: Shown, item_ids: Iterable[str], times: Sequence[int], cap: int) -> None:
    """Note that items were shown, in place; of more items than the cap those shown last longest ago go.

    >>> shown = {"a": [1, 2, 3, 4]}
    >>> add_showings(shown, ["a", "b"], [3], cap=8)
    >>> shown
    {'a': [2, 3, 3, 4], 'b': [3]}
    """
    for item_id in item_ids:
        shown[item_id] = sorted([*shown.get(item_id, ()), *times])[-SHOWINGS:]
    if len(shown) > cap:
        for item_id in sorted(shown, key=lambda item: (shown[item][-1], item))[: len(shown) - (cap - cap // 8)]:
            del shown[item_id]
