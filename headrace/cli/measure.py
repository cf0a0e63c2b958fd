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
Log = Annotated[str, typer.Option("--log", help="URL of a log in the place of the embedded one; pulsar://…")]


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
def log(
    pulsar: Annotated[str, typer.Option("--log", help="URL of the Pulsar log; without one, only the embedded.")] = "",
    events: Annotated[int, typer.Option(min=1000, help="Events of each repeat.")] = 60_000,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything but the latency.")] = 5,
    rate: Annotated[int, typer.Option(min=1, help="Events per second while the latency is measured.")] = 1000,
    seconds: Annotated[float, typer.Option(min=1, help="How long the latency is measured.")] = 20.0,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Append, read, end-to-end latency and ingest into the state store, on the embedded log and on Pulsar.

    On the broker a new namespace is left beside the one of the URL.

    Examples:

        headrace bench log --json
        headrace bench log --log pulsar://127.0.0.1:6650/public/bench --json
    """
    from headrace.bench.log import log as run

    document = run(pulsar, events=events, repeats=repeats, rate=rate, seconds=seconds, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def freshness(
    background_eps: Annotated[str, typer.Option(help="Events per second of background, comma-separated.")] = "0,1000",
    probes: Annotated[int, typer.Option(min=1, help="Clicks to time in each run.")] = 300,
    users: Users = 5000,
    items: Items = 2000,
    seed: Seed = 1,
    log: Log = "",
    as_json: Json = False,
) -> None:
    """Time from an acknowledged click to the first slate that reflects it.

    Examples:

        headrace bench freshness --json
        headrace bench freshness --log pulsar://127.0.0.1:6650
        headrace bench freshness --background-eps 0,500,2000
    """
    from headrace.bench.freshness import freshness as run

    eps = _numbers(background_eps, "--background-eps")
    document = run(background_eps=eps, probes=probes, users=users, items=items, seed=seed, log=log, progress=say)
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


@bench.command()
@explained
def scale(
    events: Annotated[int, typer.Option(min=1000, help="Events in the log to catch up with.")] = 200_000,
    partitions: Annotated[int, typer.Option(min=2, max=256, help="Partitions of the log.")] = 16,
    repeats: Annotated[int, typer.Option(min=1, help="Of one and of two processes each.")] = 3,
    idle_seconds: Annotated[float, typer.Option(min=1, help="Over which the idle system's CPU is measured.")] = 30.0,
    users: Users = 5000,
    items: Items = 10_000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """How fast one and two processes of the state flow catch up with a log, and what the idle system burns.

    Examples:

        headrace bench scale --json
        headrace bench scale --events 50000 --repeats 1
    """
    from headrace.bench.scale import scale as run

    document = run(
        events=events,
        partitions=partitions,
        repeats=repeats,
        idle_seconds=idle_seconds,
        users=users,
        items=items,
        seed=seed,
        progress=say,
    )
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def bridge(
    brokers: Annotated[str, typer.Option(help="host:port of a Kafka to make a topic on.")],
    events: Annotated[int, typer.Option(min=1000, help="Messages of the topic.")] = 100_000,
    repeats: Annotated[int, typer.Option(min=1, help="Passes over it by each engine.")] = 3,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Kafka to log through faust and through Bytewax: events per second, CPU per event.

    Examples:

        headrace bench bridge --brokers localhost:9092 --json
    """
    from headrace.bench.bridge import bridge as run

    document = run(brokers=brokers, events=events, repeats=repeats, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def sessions(
    sessions: Annotated[int, typer.Option(min=1, help="Sessions the index keeps.")] = 1_000_000,
    events: Annotated[int, typer.Option(min=1, help="Clicks it learns.")] = 5_000_000,
    items: Annotated[int, typer.Option(min=1000, help="Items of the catalogue.")] = 50_000,
    queries: Annotated[int, typer.Option(min=1, help="Sessions to ask for.")] = 5000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """The session index: time per click and per query, and its memory.

    Examples:

        headrace bench sessions --json
        headrace bench sessions --sessions 100000 --events 500000
    """
    from headrace.bench.sessions import sessions as run

    document = run(kept=sessions, events=events, items=items, queries=queries, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def scoring(
    users: Users = 2000,
    items: Items = 10_000,
    history: Annotated[int, typer.Option(min=1000, help="Events folded before.")] = 60_000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Features and scores of 200 candidates, and River's own loop over them beside.

    Examples:

        headrace bench scoring --json
        headrace bench scoring --items 100000
    """
    from headrace.bench.scoring import scoring as run

    document = run(users=users, items=items, history=history, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def memory(
    users: Annotated[int, typer.Option(min=100, help="Active users to fold.")] = 50_000,
    events_per_user: Annotated[int, typer.Option(min=1, help="On average.")] = 40,
    items: Annotated[int, typer.Option(min=1000, help="Items of a worker.")] = 100_000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """What a million active users take in the state store, and a million items in a worker.

    Examples:

        headrace bench memory --json
        headrace bench memory --users 2000 --events-per-user 100
    """
    from headrace.bench.memory import memory as run

    document = run(users=users, events_per_user=events_per_user, items=items, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


@bench.command()
@explained
def ann(
    items: Annotated[int, typer.Option(min=1000, help="Vectors.")] = 100_000,
    dim: Annotated[int, typer.Option(min=2, help="Of a vector.")] = 64,
    queries: Annotated[int, typer.Option(min=1, help="In each repeat.")] = 300,
    repeats: Annotated[int, typer.Option(min=1, help="Of the timing; graphs take turns in each.")] = 5,
    only: Annotated[str, typer.Option(help="Parts of names of what to compare, comma-separated.")] = "",
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """USearch against hnswlib and faiss: cost of a query at equal recall, build, file and opening.

    The two others come with `uv sync --group ann`.

    Examples:

        headrace bench ann --json
        headrace bench ann --items 1000000 --repeats 3 --only served,hnswlib,faiss
        headrace bench ann --only usearch
    """
    from importlib.util import find_spec

    from headrace.bench.ann import ann as run
    from headrace.bench.contender import CONTENDERS, LIBRARIES

    parts = only.split(",")
    chosen = [name for name in CONTENDERS if any(part in name for part in parts)]
    if not chosen:
        raise typer.BadParameter(f"nothing has a name with {only!r}: {', '.join(CONTENDERS)}", param_hint="--only")
    missing = [library for library in LIBRARIES if find_spec(library) is None and any(library in c for c in chosen)]
    if missing:
        say(f"headrace: {' and '.join(missing)} not installed: uv sync --group ann, or --only usearch")
        raise typer.Exit(2)
    document = run(items=items, dim=dim, queries=queries, repeats=repeats, only=parts, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0:
        raise typer.BadParameter(f"{text!r} is no list of counts such as 100,200", param_hint=option)
    return numbers


@bench.command()
@explained
def rules(
    items: Annotated[int, typer.Option(min=1000, help="Of the catalogue.")] = 100_000,
    rules: Annotated[int, typer.Option(min=1, help="Rules that are on or wait for their requests.")] = 100,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything.")] = 5,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Rules of the business: compiled over a catalogue, kept as items change, and applied to a request's candidates.

    Examples:

        headrace bench rules --json
        headrace bench rules --items 1000000 --rules 20
    """
    from headrace.bench.rules import rules as run

    document = run(items=items, rules=rules, repeats=repeats, seed=seed, progress=say)
    print_json(document) if as_json else print_table(document)
