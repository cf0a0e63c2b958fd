"""Commands that measure: bench."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.app import Json, app, explained, print_json, print_table, say

bench = typer.Typer(help="Measure; every figure comes with its method, n and spread.", no_args_is_help=True)
app.add_typer(bench, name="bench")

Seed = Annotated[int, typer.Option(min=0, help="Of the generated traffic.")]
Users = Annotated[int, typer.Option(min=1, help="Users of the generated traffic.")]
Items = Annotated[int, typer.Option(min=1, help="Items of the generated traffic.")]


@bench.command()
@explained
def ingest(users: Users = 5000, items: Items = 10_000, seed: Seed = 1, as_json: Json = False) -> None:
    """Fold and packed write against a plain loop; log to Redis end to end; events over HTTP.

    Examples:

        headrace bench ingest --json
    """
    from headrace.bench.ingest import ingest as run

    document = run(users=users, items=items, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def freshness(
    background_eps: Annotated[str, typer.Option(help="Events per second of background, comma-separated.")] = "0,1000",
    probes: Annotated[int, typer.Option(min=1, help="Clicks to time in each run.")] = 300,
    users: Users = 5000,
    items: Items = 2000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Time from an acknowledged click to the first slate that reflects it.

    Examples:

        headrace bench freshness --json
        headrace bench freshness --background-eps 0,500,2000
    """
    from headrace.bench.freshness import freshness as run

    eps = _numbers(background_eps, "--background-eps")
    document = run(background_eps=eps, probes=probes, users=users, items=items, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def serve(
    rate: Annotated[str, typer.Option(help="Requests per second, comma-separated.")] = "100,200,500,1000",
    users: Users = 5000,
    items: Items = 10_000,
    background_eps: Annotated[int, typer.Option(min=0, help="Events per second meanwhile.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="Of each rate.")] = 10.0,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Latency at open-loop Poisson arrivals, CPU per request, saturation, and time by stage.

    Examples:

        headrace bench serve --json
        headrace bench serve --rate 200 --items 100000 --background-eps 200
    """
    from headrace.bench.serve import serve as run

    document = run(
        rates=_numbers(rate, "--rate"),
        users=users,
        items=items,
        background_eps=background_eps,
        seconds=seconds,
        seed=seed,
        progress=say,
    )
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def rebuild(
    events: Annotated[int, typer.Option(min=1, help="Events in the log to rebuild from.")] = 200_000,
    users: Users = 5000,
    items: Items = 10_000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Events per second when every view is folded anew, and whether the result is equal.

    Examples:

        headrace bench rebuild --json
    """
    from headrace.bench.rebuild import rebuild as run

    document = run(events=events, users=users, items=items, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)
    if not document["equal"]:
        raise typer.Exit(1)


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0:
        raise typer.BadParameter(f"{text!r} is no list of counts such as 100,200", param_hint=option)
    return numbers
