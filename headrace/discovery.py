"""`headrace simulate --newcomers`: how soon each policy finds the great one among the newcomers, over several shops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import Progress

from online.adapters.exact_index import ExactIndex
from replay.discovery import Discovery, discover
from replay.local_system import LocalSystem
from replay.ranking_metrics import bootstrap_mean
from replay.shop import Shop, ShopConfig


def compare(
    config: ShopConfig, policies: Sequence[str], *, runs: int, hours: float, rate: float, quiet: bool
) -> dict[str, Any]:
    """Play shops of successive seeds against each policy; every policy meets the same shops and the same visits.

    A run that does not find it counts with all its slates, so means are lower bounds and differences are cautious.
    """
    found: dict[str, list[Discovery]] = {policy: [] for policy in policies}
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("playing", total=runs * len(found))
        for seed in range(config.seed, config.seed + runs):
            shop = Shop(replace(config, seed=seed))
            for policy, discoveries in found.items():
                system = LocalSystem(index=ExactIndex, seed=seed)
                until = config.start + hours * 3600.0
                discoveries.append(discover(system, shop, policy, rate=rate, until=until))
                bar.advance(task)
    first = found[policies[0]]
    return {
        "seeds": list(range(config.seed, config.seed + runs)),
        "hours": hours,
        "newcomers": config.newcomers,
        "newcomers_after_hours": config.newcomers_after / 3600.0,
        "policies": {
            policy: {
                "n": runs,
                "found": sum(one.is_found for one in own),
                **_figures("slates", [one.slates for one in own]),
                **_figures("events", [one.events for one in own]),
                "by_seed": [one._asdict() for one in own],
            }
            for policy, own in found.items()
        },
        f"sooner_than_{policies[0]}": {
            policy: {
                "n": runs,
                **_figures("slates", [a.slates - b.slates for a, b in zip(first, own, strict=True)]),
                **_figures("events", [a.events - b.events for a, b in zip(first, own, strict=True)]),
            }
            for policy, own in found.items()
            if policy != policies[0]
        },
    }


def _figures(name: str, values: Sequence[float]) -> dict[str, Any]:
    mean, low, high = bootstrap_mean(values, range(len(values)), seed=0)
    return {name: round(mean, 1), f"{name}_ci": [round(low, 1), round(high, 1)]}
