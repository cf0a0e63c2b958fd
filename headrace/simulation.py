"""`headrace simulate`: the closed loop in this process, seeded and repeatable."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import Progress

from online.adapters.exact_index import ExactIndex
from replay.closed_loop import Loop, run
from replay.local_system import LocalSystem
from replay.shop import Shop, ShopConfig


def simulate(config: ShopConfig, *, hours: float, rate: float, quiet: bool) -> dict[str, Any]:
    """Play `hours` of shop time at `rate` visits per second of it; return the summary, the last quarter apart.

    The last quarter shows what was learned: totals also hold the time when nothing was known.
    """
    shop, system = Shop(config), LocalSystem(index=ExactIndex, seed=config.seed)
    seconds, began = hours * 3600.0, time.monotonic()
    loop, before = Loop(), None
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("simulating", total=seconds)
        for loop in run(system, shop, rate=rate, until=config.start + seconds):
            passed = loop.now - config.start
            if before is None and passed >= 0.75 * seconds:
                before = {arm: tally.copy() for arm, tally in loop.tallies.items()}
            bar.update(task, completed=min(passed, seconds))
    learned = system.ranker.summary()
    return {
        "seed": config.seed,
        "hours": hours,
        "visits": loop.visits,
        "events": loop.events,
        "arms": {arm: tally.document() for arm, tally in loop.tallies.items()},
        "last_quarter": {arm: tally.since(before[arm]).document() for arm, tally in loop.tallies.items()}
        if before
        else {},
        "model": {
            "version": system.world.ranker_version,
            "slates_learned": system.ranker.slates,
            "log_loss": learned["log_loss"],
            "mean_log_loss": learned["mean_log_loss"],
        },
        "took_s": round(time.monotonic() - began, 2),
    }
