"""The compiled parts of the sequential rules: one click into them, and what follows a session's items."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.kernel import empty_table, kernel, probe

OFFSET, SIZE, HELD = range(3)  # columns of Rules.blocks
RECENT, RECENT_AT = range(2)  # columns of Rules.clicks
FORWARD_LAST, BACKWARD_LAST, FORWARD_EARLIER, BACKWARD_EARLIER, TWO_HOPS = range(5)  # columns of what `follow` returns
COLUMNS = 5
SMALLEST = 8  # entries of an item's first block
PRIOR = 0.5  # weight of rules unseen, beside that of an item's own
EARLIER_ITEMS, NAMING_ITEMS, HOPPING_ITEMS = 6, 2, 3  # of a session's latest: that count, name candidates, hop twice
EARLIER_DECAY = 0.6  # with each item further back
LEAST_HOP, LEAST_TWO_HOPS = 0.005, 0.0005  # shares below which a path is not followed


class Rules(NamedTuple):
    """Blocks of one arena, one an item, doubled from 8 up to the bound; weights count as of the item's time."""

    items: NDArray[np.int32]  # (capacity,) the other item of a rule
    forward: NDArray[np.float32]  # (capacity,) how much it came after
    backward: NDArray[np.float32]  # (capacity,) how much it came before
    blocks: NDArray[np.int64]  # (item capacity, 3): offset, size, entries
    times: NDArray[np.float64]  # (item capacity,) epoch seconds
    clicks: NDArray[np.float64]  # (item capacity, 2): decayed recent clicks, epoch seconds as of which
    used: NDArray[np.int64]  # (1,) arena entries


@kernel
def _entry(rules: Rules, row: int, other: int, width: int) -> int:
    """Return where in the arena a rule is, made when new; a full item's weakest gives its place."""
    items, forward, backward = rules.items, rules.forward, rules.backward
    block = rules.blocks[row]
    first, held = block[OFFSET], block[HELD]
    for at in range(first, first + held):
        if items[at] == other:
            return int(at)
    if held == block[SIZE] and held < width:
        size = min(max(2 * held, SMALLEST), width)
        new = rules.used[0]
        rules.used[0] += size
        for i in range(held):
            items[new + i], forward[new + i], backward[new + i] = (
                items[first + i],
                forward[first + i],
                backward[first + i],
            )
        block[OFFSET], block[SIZE] = new, size
        first = new
    if held < block[SIZE]:
        at = first + held
        block[HELD] += 1
    else:
        at = first
        for i in range(first, first + held):
            if forward[i] + backward[i] < forward[at] + backward[at]:
                at = i
    items[at], forward[at], backward[at] = other, 0.0, 0.0
    return int(at)


@kernel
def _add(
    rules: Rules, row: int, other: int, ahead: float, behind: float, time: float, half_life: float, width: int
) -> None:
    block = rules.blocks[row]
    if block[HELD] == 0:
        rules.times[row] = time
    gone = time - rules.times[row]
    factor = 1.0
    if gone > 0.0:
        fading = 2.0 ** (-gone / half_life)
        for at in range(block[OFFSET], block[OFFSET] + block[HELD]):
            rules.forward[at] *= fading
            rules.backward[at] *= fading
        rules.times[row] = time
    elif gone < 0.0:
        factor = 2.0 ** (gone / half_life)
    at = _entry(rules, row, other, width)
    rules.forward[at] += ahead * factor
    rules.backward[at] += behind * factor


@kernel
def learn(
    rules: Rules,
    contexts: NDArray[np.int32],
    items: NDArray[np.int32],
    timestamps: NDArray[np.float64],
    width: int,
    half_life: float,
    recent_half_life: float,
    done: int,
) -> int:
    """Learn the clicks from `done` on; return how many are done, fewer than given if the arena must grow.

    Each followed the items of its row of `contexts`, oldest first, -1 for none.
    """
    for n in range(done, items.size):
        if rules.used[0] + 2 * contexts.shape[1] * width > rules.items.size:
            return n
        _learn_one(rules, contexts[n], items[n], timestamps[n], width, half_life, recent_half_life)
    return items.size


@kernel
def _learn_one(
    rules: Rules,
    context: NDArray[np.int32],
    item: int,
    time: float,
    width: int,
    half_life: float,
    recent_half_life: float,
) -> None:
    click = rules.clicks[item]
    gone = time - click[RECENT_AT]
    if click[RECENT] == 0.0:
        click[RECENT], click[RECENT_AT] = 1.0, time
    elif gone >= 0.0:
        click[RECENT], click[RECENT_AT] = click[RECENT] * 2.0 ** (-gone / recent_half_life) + 1.0, time
    else:
        click[RECENT] += 2.0 ** (gone / recent_half_life)
    for steps in range(1, context.size + 1):
        before = context[context.size - steps]
        if before < 0:
            return
        if before == item:
            if steps == 1:
                _add(rules, item, item, 1.0, 0.0, time, half_life, width)
            continue
        _add(rules, before, item, 1.0 / steps, 0.0, time, half_life, width)
        _add(rules, item, before, 0.0, 1.0 / steps, time, half_life, width)


@kernel
def _sums(rules: Rules, row: int) -> tuple[float, float]:
    ahead = behind = 0.0
    first = rules.blocks[row, OFFSET]
    for at in range(first, first + rules.blocks[row, HELD]):
        ahead += rules.forward[at]
        behind += rules.backward[at]
    return ahead, behind


@kernel
def follow(
    rules: Rules, context: NDArray[np.int32], now: float, half_life: float, limit: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return candidates for a session of distinct items, oldest first, and their shares: rows (c,), (c, COLUMNS)."""
    rows, shares = np.empty(limit, np.int32), np.zeros((limit, COLUMNS))
    table, n = empty_table(limit), 0
    for back in range(min(EARLIER_ITEMS, context.size)):
        row = context[context.size - 1 - back]
        if not 0 <= row < rules.times.size or rules.blocks[row, HELD] == 0:
            continue
        ahead, behind = _sums(rules, row)
        prior = PRIOR * 2.0 ** (max(now - rules.times[row], 0.0) / half_life)
        first = rules.blocks[row, OFFSET]
        for i in range(first, first + rules.blocks[row, HELD]):
            at = probe(table, rows, rules.items[i])
            if table[at] == 0:
                if back >= NAMING_ITEMS or n == limit:
                    continue
                rows[n] = rules.items[i]
                n += 1
                table[at] = n
            share = shares[table[at] - 1]
            weight = 1.0 if back == 0 else EARLIER_DECAY ** (back - 1)
            column = FORWARD_LAST if back == 0 else FORWARD_EARLIER
            share[column] += weight * rules.forward[i] / (ahead + prior)
            share[column + 1] += weight * rules.backward[i] / (behind + prior)
    for back in range(min(HOPPING_ITEMS, context.size)):
        row = context[context.size - 1 - back]
        if 0 <= row < rules.times.size:
            n = _hop_twice(rules, row, EARLIER_DECAY**back, now, half_life, rows, shares, table, n)
    return rows[:n].copy(), shares[:n].copy()


@kernel
def _hop_twice(
    rules: Rules,
    row: int,
    weight: float,
    now: float,
    half_life: float,
    rows: NDArray[np.int32],
    shares: NDArray[np.float64],
    table: NDArray[np.int32],
    n: int,
) -> int:
    """Add what an item's companions come with, either way; return how many candidates there are."""
    ahead, behind = _sums(rules, row)
    total = ahead + behind + 2.0 * PRIOR * 2.0 ** (max(now - rules.times[row], 0.0) / half_life)
    first = rules.blocks[row, OFFSET]
    for i in range(first, first + rules.blocks[row, HELD]):
        via, hop = rules.items[i], (rules.forward[i] + rules.backward[i]) / total
        if via == row or hop < LEAST_HOP:
            continue
        ahead, behind = _sums(rules, via)
        other_total = ahead + behind + 2.0 * PRIOR * 2.0 ** (max(now - rules.times[via], 0.0) / half_life)
        start = rules.blocks[via, OFFSET]
        for j in range(start, start + rules.blocks[via, HELD]):
            both = hop * (rules.forward[j] + rules.backward[j]) / other_total
            if rules.items[j] == via or both < LEAST_TWO_HOPS:
                continue
            at = probe(table, rows, rules.items[j])
            if table[at] == 0:
                if n == rows.size:
                    continue
                rows[n] = rules.items[j]
                n += 1
                table[at] = n
            shares[table[at] - 1, TWO_HOPS] += weight * both
    return n
