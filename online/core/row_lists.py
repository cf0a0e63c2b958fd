"""Lists of item rows (or facet codes): where a key stands in one, and what several of them have together.

All go through one small hash table of keys, so that the cost is that of the keys given, whatever the catalogue holds.
It is not `kernel.probe`'s: rows are dense, one multiplication spreads them (Knuth, "The Art of Computer Programming",
volume 3, section 6.4), and looking 900 rows up takes half the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .kernel import kernel

Keys = NDArray[np.int32]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel
def _empty_table(keys: int) -> NDArray[np.int32]:
    """Return a hash table with room for so many keys: a power of two, 0 for empty, else place + 1."""
    size = 4
    while size < 2 * keys:
        size *= 2
    return np.zeros(size, np.int32)


@kernel
def _slot(table: NDArray[np.int32], keys: Keys, key: int) -> int:
    """Return the slot of a key whose place the table has, or the empty one where it goes (linear probing)."""
    last = len(table) - 1
    slot = np.int64((np.uint64(key) * _GOLDEN) >> np.uint64(40)) & last
    while table[slot] != 0 and keys[table[slot] - 1] != key:
        slot = (slot + 1) & last
    return int(slot)


@kernel
def places(keys: Keys, wanted: Keys) -> NDArray[np.int32]:
    """Return where each of `wanted` (w,) first stands among `keys` (k,), −1 for nowhere; no negative one stands there.

    >>> places(np.array([7, 3, 7, -1], np.int32), np.array([3, 7, 5, -1], np.int32)).tolist()
    [1, 0, -1, -1]
    """
    found = np.full(len(wanted), -1, np.int32)
    table = _empty_table(len(keys))
    for place in range(len(keys)):
        if keys[place] >= 0:
            slot = _slot(table, keys, keys[place])
            if table[slot] == 0:
                table[slot] = place + 1
    for i in range(len(wanted)):
        if wanted[i] >= 0:
            found[i] = table[_slot(table, keys, wanted[i])] - 1
    return found


@kernel
def sums_of(keys: Keys, values: Floats, codes: NDArray[np.int32], rows: Keys) -> Floats:
    """Return per row the sum of what is known of its codes: (len(rows), v).

    Args:
        keys: (k,) distinct codes of which something is known; negative ones are none.
        values: (k, v) what is known of each.
        codes: (n, w) those of every row of the table, negative where it has fewer.
        rows: (c,) of which the sums are wanted.

    >>> codes = np.array([[5, 7], [7, -1], [9, -1]], np.int32)
    >>> sums_of(np.array([7, 5], np.int32), np.array([[1.0], [0.5]]), codes, np.array([0, 1, 2], np.int32)).tolist()
    [[1.5], [1.0], [0.0]]
    """
    sums, table = np.zeros((len(rows), values.shape[1])), _empty_table(len(keys))
    for place in range(len(keys)):
        if keys[place] >= 0:
            table[_slot(table, keys, keys[place])] = place + 1
    for i in range(len(rows)):
        for n in range(codes.shape[1]):
            code = codes[rows[i], n]
            place = table[_slot(table, keys, code)] - 1 if code >= 0 else -1
            if place >= 0:
                for v in range(values.shape[1]):
                    sums[i, v] += values[place, v]
    return sums


@kernel
def united(
    rows: Keys,
    scores: Floats,
    bounds: NDArray[np.int64],
    columns: NDArray[np.int64],
    skips: NDArray[np.int64],
    width: int,
    most: int,
) -> tuple[Keys, Floats, NDArray[np.int32]]:
    """Return the rows of several lists, each once, in ascending order.

    Args:
        rows: (m,) of all lists, one behind another, best first.
        scores: (m,) theirs.
        bounds: (lists + 1,) where each list begins, and the last ends.
        columns: (lists,) that of each list.
        skips: (lists,) a row that each list is to be read without, negative for none.
        width: how many columns there are.
        most: rows of each list that count.

    Returns:
        The rows (c,); their scores in each list (c, width), 0 where it does not name them; their ranks there (c,
        width), from 1, 0 where it does not. A row that a list names twice has its better rank.

    >>> found = united(
    ...     np.array([7, 3, 3], np.int32), np.array([0.9, 0.4, 5.0]), np.array([0, 2, 3]), np.array([1, 0]),
    ...     np.array([-1, -1]), 2, 9)
    >>> [part.tolist() for part in found]
    [[3, 7], [[5.0, 0.4], [0.0, 0.9]], [[1, 2], [0, 1]]]
    """
    counted, n = np.empty(len(rows), np.int64), 0
    for number in range(len(columns)):
        first = n
        for i in range(bounds[number], bounds[number + 1]):
            if rows[i] != skips[number] and n - first < most:
                counted[n] = i
                n += 1
    distinct = np.unique(rows[counted[:n]])
    table = _empty_table(len(distinct))
    for place in range(len(distinct)):
        table[_slot(table, distinct, distinct[place])] = place + 1
    all_scores, ranks = np.zeros((len(distinct), width)), np.zeros((len(distinct), width), np.int32)
    number, rank = -1, 0
    for i in counted[:n]:
        while i >= bounds[number + 1]:
            number, rank = number + 1, 0
        rank += 1
        place, column = table[_slot(table, distinct, rows[i])] - 1, columns[number]
        if ranks[place, column] == 0:
            ranks[place, column] = rank
            all_scores[place, column] = scores[i]
    return distinct, all_scores, ranks


@kernel
def best_sums(rows: Keys, scores: Floats, limit: int) -> tuple[Keys, Floats]:
    """Return the at most `limit` rows whose scores add up to most, and the sums: best first, ties by lower row.

    >>> [part.tolist() for part in best_sums(np.array([4, 2, 9, 4], np.int32), np.array([1.0, 1.5, 1.5, 1.0]), 2)]
    [[4, 2], [2.0, 1.5]]
    """
    distinct, sums, table, n = np.empty(len(rows), np.int32), np.zeros(len(rows)), _empty_table(len(rows)), 0
    for i in range(len(rows)):
        slot = _slot(table, distinct, rows[i])
        if table[slot] == 0:
            distinct[n] = rows[i]
            n += 1
            table[slot] = n
        sums[table[slot] - 1] += scores[i]
    best, best_scores, kept = np.empty(limit, np.int32), np.empty(limit), 0
    for i in range(n):
        row, score = distinct[i], sums[i]
        at = kept if kept < limit else limit
        while at > 0 and (score > best_scores[at - 1] or (score == best_scores[at - 1] and row < best[at - 1])):
            at -= 1
        if at == limit:
            continue
        kept = min(kept + 1, limit)
        for behind in range(kept - 1, at, -1):
            best[behind], best_scores[behind] = best[behind - 1], best_scores[behind - 1]
        best[at], best_scores[at] = row, score
    return best[:kept].copy(), best_scores[:kept].copy()


@kernel
def apportioned(
    rows: Keys,
    bounds: NDArray[np.int64],
    starts: NDArray[np.int64],
    facets: NDArray[np.int64],
    codes: Keys,
    strengths: Floats,
    everybody: float,
    limit: int,
) -> tuple[Keys, Floats]:
    """Return at most `limit` rows of lists, best first, and their scores: how many of each, its strength decides.

    The r-th row of a list scores strength / r, which gives seats by the method of highest averages (D'Hondt 1882); a
    row of several lists scores by all of them.

    Args:
        rows: of all lists, one behind another, each best first: that of everybody, then one by code of each facet.
        bounds: (lists + 1,) where each of them begins, and the last ends.
        starts: (facets + 1,) number of each facet's first list, and how many lists there are.
        facets: (k,) of the lists that count.
        codes: (k,) theirs; one newer than the lists has none.
        strengths: (k,) theirs.
        everybody: the strength of everybody's list.
        limit: rows to return.

    >>> found = apportioned(
    ...     np.array([7, 8, 9, 3, 7], np.int32), np.array([0, 3, 5]), np.array([1, 2]),
    ...     np.array([0]), np.array([0], np.int32), np.array([1.0]), 2.0, 3)
    >>> [part.tolist() for part in found]
    [[7, 3, 8], [2.5, 1.0, 1.0]]
    """
    lists = np.zeros(1 + len(codes), np.int64)
    weights = np.full(1 + len(codes), everybody)
    counted, total = (1, bounds[1]) if everybody > 0.0 else (0, np.int64(0))
    for k in range(len(codes)):
        number = starts[facets[k]] + codes[k]
        if number < starts[facets[k] + 1]:
            lists[counted], weights[counted] = number, strengths[k]
            counted += 1
            total += bounds[number + 1] - bounds[number]
    named, quotients, n = np.empty(total, np.int32), np.empty(total), 0
    for k in range(counted):
        first = bounds[lists[k]]
        for i in range(first, bounds[lists[k] + 1]):
            named[n], quotients[n] = rows[i], weights[k] / (i - first + 1)
            n += 1
    return best_sums(named, quotients, limit)
