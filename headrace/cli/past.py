"""Commands that replay and simulate: demo, replay, simulate."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.app import DataDir, Json, Port, app, explained, print_json, print_table

Events = Annotated[Path, typer.Option("--events", help="NDJSON, Parquet or CSV file of recorded events.")]
Format = Annotated[str, typer.Option("--format", help="Mapping of the file's columns; auto finds it by the columns.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random; the same seed gives the same run.")]


@app.command()
@explained
def demo(
    events: Annotated[Path | None, typer.Option("--events", help="Recorded events instead of the shop.")] = None,
    mapping: Format = "auto",
    seconds: Annotated[float | None, typer.Option("--for", min=1, max=1e7, help="End after so many seconds.")] = None,
    seed: Seed = 7,
    data_dir: DataDir = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Start everything in a temporary directory and watch a shop's traffic change its slates.

    Ends on Ctrl-C, or by itself after --for seconds.

    Examples:

        headrace demo
        headrace demo --for 60 --json
        headrace demo --events clicks.parquet
    """
    from headrace.demo import run_demo

    document = run_demo(
        events=events, mapping=mapping, seconds=seconds, seed=seed, data_dir=data_dir, port=port, quiet=as_json
    )
    print_json(document) if as_json else print_table(document)


@app.command()
@explained
def replay(
    events: Events,
    mapping: Format = "auto",
    speed: Annotated[str, typer.Option(help="max, realtime, or a multiple of real time such as 60.")] = "max",
    url: Annotated[str | None, typer.Option(help="A running API; without it, in this process.")] = None,
    api_key: Annotated[str, typer.Option(envvar="HEADRACE_API_KEY", help="Key of the running API.")] = "",
    ask_every: Annotated[int, typer.Option(min=0, help="Ask for slates before every so many-th click; 0: never.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Feed no more than so many events.")] = None,
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Feed recorded events in their order, asking for slates as it goes; each is scored by what came next.

    Examples:

        headrace replay --events clicks.parquet
        headrace replay --events events.ndjson --url http://127.0.0.1:8700 --speed 60
        headrace replay --events ratings.csv --format movielens --json
    """
    from headrace.recorded import open_system, replay_file
    from replay.feed import FeedConfig

    config = FeedConfig(speed=_speed(speed), ask_every=ask_every)
    with closing(open_system(url, api_key=api_key, seed=seed)) as system:
        document = replay_file(events, system, config, mapping=mapping, limit=limit, seed=seed, quiet=as_json)
    print_json(document) if as_json else print_table(document)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    if text == "realtime":
        return 1.0
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < float("inf"):
        raise typer.BadParameter(f"{text!r} is not max, realtime or a positive number", param_hint="--speed")
    return speed


@app.command()
@explained
def simulate(
    hours: Annotated[float, typer.Option(min=0.1, max=10_000, help="Hours of shop time.")] = 12.0,
    rate: Annotated[float, typer.Option(min=0.0001, max=1000, help="Visits per second of shop time.")] = 0.05,
    users: Annotated[int, typer.Option(min=2, help="Shoppers.")] = 200,
    items: Annotated[int, typer.Option(min=12, help="Items of the shop, of 12 categories.")] = 400,
    drift: Annotated[float, typer.Option(min=0, max=1, help="Share of the tastes that moves in a day.")] = 0.0,
    newcomers: Annotated[
        int, typer.Option(min=0, help="Items that come a quarter of the time in, one of them great; ends when found.")
    ] = 0,
    runs: Annotated[int, typer.Option(min=1, help="With --newcomers: shops, each with the next seed.")] = 10,
    policies: Annotated[
        str, typer.Option(help="With --newcomers: what looks for the great one; the others are told against the first.")
    ] = "greedy-1,personal-1,thompson-1",
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Play a synthetic shop against the recommender in this process: click-through and regret, by policy.

    Shoppers have hidden tastes and react to the slates; the best slate is known, so regret is exact. With --newcomers
    it tells instead how many slates each policy takes until the great one is among the ten most served.

    Examples:

        headrace simulate
        headrace simulate --hours 24 --seed 3 --json
        headrace simulate --newcomers 30 --hours 8 --runs 10 --json
    """
    from replay.shop import ShopConfig

    config = ShopConfig(users=users, items=items, drift=drift, seed=seed)
    if newcomers:
        from headrace.discovery import compare

        try:
            planted = replace(config, newcomers=newcomers, newcomers_after=hours * 900.0)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--newcomers") from None
        document = compare(planted, _policies(policies), runs=runs, hours=hours, rate=rate, quiet=as_json)
    else:
        from headrace.simulation import simulate as run

        document = run(config, hours=hours, rate=rate, quiet=as_json)
    print_json(document) if as_json else print_table(document)


def _policies(text: str) -> list[str]:
    from online.core.policy_document import POLICIES

    chosen = list(dict.fromkeys(text.split(",")))
    unknown = sorted(set(chosen) - set(POLICIES))
    if unknown:
        known = ", ".join(sorted(POLICIES))
        raise typer.BadParameter(f"{', '.join(unknown)}: policies are {known}", param_hint="--policies")
    return chosen
