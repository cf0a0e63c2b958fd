"""Commands that prove and measure: verify, bench."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

import typer

from flows.bridge import Engine
from headrace.cli.app import Json, app, explained, print_json, print_table

verify = typer.Typer(help="Prove what the system promises.", no_args_is_help=True)
app.add_typer(verify, name="verify")


class Proof(Protocol):
    """What a proof found: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def is_correct(self) -> bool:
        """Whether everything is as promised."""
        ...


def conclude(outcome: Proof, as_json: bool) -> None:
    """Tell what a proof found; end with 1 when something is not as promised."""
    document = asdict(outcome)
    print_json(document) if as_json else print_table(document)
    if not outcome.is_correct:
        raise typer.Exit(1)


@verify.command("crash")
@explained
def verify_crash(
    kills: Annotated[int, typer.Option(min=1, help="How many times something is killed, in each run.")] = 20,
    targets: Annotated[
        str, typer.Option(help="Comma-separated: flow, state, log, api, record, warehouse, or all.")
    ] = "all",
    log: Annotated[
        str, typer.Option(help="redis (the embedded one), pulsar (pulsar://localhost:6650), or a URL.")
    ] = "redis",
    kill_broker: Annotated[
        str | None,
        typer.Option(help="Command that kills the broker of the log (-9) and returns once it is back."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the load, the targets and the moments.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Runs, each with the next seed; what they found is summed.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="File that gets each run's JSON line; runs it holds already are not repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Kill (-9) parts of the whole system at random points under load; compare everything with the oracle.

    Exits with 1 when anything was lost, doubled, differs or stalled. Uses a temporary data directory, on Pulsar also a
    namespace of its own.

    Examples:

        headrace verify crash --kills 20 --json
        headrace verify crash --kills 5 --targets flow,api --seed 7
        headrace verify crash --kills 50 --runs 20 --out crash.jsonl
        headrace verify crash --kills 50 --log pulsar --kill-broker './kill-pulsar.sh /tmp/pulsar'
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify.bridge import by_command
    from headrace.verify.crash import Trial
    from headrace.verify.outcome import summed
    from headrace.verify.runs import verify_runs

    url = {"redis": "", "pulsar": "pulsar://localhost:6650"}.get(log, log)
    trial = Trial(
        kills=kills,
        targets=_targets(targets, can_kill_log=not url or kill_broker is not None),
        seed=seed,
        log=url,
        kill_broker=None if kill_broker is None else by_command(kill_broker),
    )
    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("kills", total=kills * runs)

        def show(run: int, done: int, name: str) -> None:
            progress.update(task, completed=(run - seed) * kills + done, description=f"seed {run}: killed {name}")

        outcome = summed(verify_runs(trial, runs, out, progress=show))
    conclude(outcome, as_json)


def _targets(text: str, *, can_kill_log: bool) -> tuple[str, ...]:
    from headrace.verify.victim import LOG, TARGETS

    if text == "all":
        return tuple(target for target in TARGETS if target != LOG or can_kill_log)
    chosen = tuple(dict.fromkeys(text.split(",")))
    unknown = sorted(set(chosen) - set(TARGETS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: targets are {', '.join(TARGETS)} or all")
    if LOG in chosen and not can_kill_log:
        raise typer.BadParameter(f"{LOG}: a log at a URL is killed by --kill-broker; give it, or leave out {LOG}")
    return chosen


@verify.command("poison")
@explained
def verify_poison(
    events: Annotated[int, typer.Option(min=1, help="Messages to append.")] = 1_000_000,
    share: Annotated[float, typer.Option(min=0.0, max=0.5, help="Of them that is poison.")] = 0.01,
    seed: Annotated[int, typer.Option(min=0, help="Of the events and the poison.")] = 1,
    as_json: Json = False,
) -> None:
    """Mix poison of many kinds into events; compare every record, dead letter and archived message.

    Then some letters are redriven, edited, and each is to count once. Exits with 1 when anything stalled, is missing or
    differs. Uses a temporary data directory.

    Examples:

        headrace verify poison --events 20000
        headrace verify poison --events 1000000 --share 0.01 --seed 7 --json
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import poison as verification

    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("events", total=events)
        outcome = verification.verify_poison(
            events=events, share=share, seed=seed, progress=lambda done: progress.update(task, completed=done)
        )
    conclude(outcome, as_json)


@verify.command("overload")
@explained
def verify_overload(
    seconds: Annotated[float, typer.Option(min=1.0, help="How long the flood lasts.")] = 60.0,
    factor: Annotated[float, typer.Option(min=1.0, help="Times the rate that the system sustains.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of users and items.")] = 1,
    as_json: Json = False,
) -> None:
    """Offer many times the sustainable rate; account for every acknowledged event, refusal and byte of memory.

    Exits with 1 when anything acknowledged was lost or doubled, a refusal came without Retry-After, or a request was
    answered with an error. Uses a temporary data directory.

    Examples:

        headrace verify overload --seconds 60 --factor 10 --json
        headrace verify overload --seconds 5
    """
    from rich.console import Console

    from headrace.verify import overload as verification

    console = Console(stderr=True)
    outcome = verification.verify_overload(seconds=seconds, factor=factor, seed=seed, progress=console.print)
    conclude(outcome, as_json)


@verify.command("propensities")
@explained
def verify_propensities(
    slates: Annotated[int, typer.Option(min=1, help="Slates to draw.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the shop, the requests and the draws.")] = 1,
    as_json: Json = False,
) -> None:
    """Test that slates were drawn with the probabilities they log: with pins, caps, removals, new items, Thompson.

    Exits with 1 when a record does not give its slate or its propensities again, or when the randomised integral
    transforms of a slot are not uniform (Kolmogorov-Smirnov, p < 1e-4).

    Examples:

        headrace verify propensities --slates 2000
        headrace verify propensities --slates 100000 --seed 1 --json
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import propensities as verification

    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("slates", total=slates)
        outcome = verification.verify_propensities(
            verification.slates(slates, seed), seed, progress=lambda done: progress.update(task, completed=done)
        )
    conclude(outcome, as_json)


@verify.command("bridge")
@explained
def verify_bridge(
    brokers: Annotated[str, typer.Option(help="host:port of a Kafka to make a topic on.")],
    events: Annotated[int, typer.Option(min=1, help="Messages to put into the topic.")] = 100_000,
    kills: Annotated[int, typer.Option(min=0, help="How many times something is killed.")] = 20,
    engine: Annotated[Engine, typer.Option(help="Of the bridge.")] = "faust",
    kill_broker: Annotated[
        str | None,
        typer.Option(help="Command that kills a broker (-9) and returns once it is back; else it is left alone."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the messages, the targets and the moments.")] = 1,
    as_json: Json = False,
) -> None:
    """Kill (-9) bridge, log and broker while a Kafka topic is forwarded; compare log, dead letters and views with it.

    Exits with 1 when anything was lost, doubled or differs. Uses a temporary data directory and a topic of its own.

    Examples:

        headrace verify bridge --brokers localhost:9092 --events 5000 --kills 4
        headrace verify bridge --brokers localhost:9092 --engine bytewax --kill-broker ./kill-kafka.sh --json
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import bridge as verification

    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("kills", total=kills)
        outcome = verification.verify_bridge(
            brokers=brokers,
            engine=engine,
            events=events,
            kills=kills,
            seed=seed,
            kill_broker=None if kill_broker is None else verification.by_command(kill_broker),
            progress=lambda done, name: progress.update(task, completed=done, description=f"killed {name}"),
        )
    conclude(outcome, as_json)


@verify.command("swaps")
@explained
def verify_swaps(
    swaps: Annotated[int, typer.Option(min=1, help="Versions of the item vectors to publish.")] = 100,
    rate: Annotated[float, typer.Option(min=1.0, help="Requests per second; the machine must sustain them.")] = 500.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="API workers that answer the requests.")] = 2,
    items: Annotated[int, typer.Option(min=100, help="Items of the catalogue and the index.")] = 10_000,
    quiet_seconds: Annotated[float, typer.Option(min=1.0, help="Requests without swaps before, to compare.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of traffic and vectors.")] = 1,
    as_json: Json = False,
) -> None:
    """Exchange the item vectors again and again under requests; check every slate against the version it names.

    After every fifth version a damaged one is published (a bit flipped, truncated, an older one, files that do not
    fit), which must be refused. Exits with 1 when a request failed, a slate is wrong, a damaged version was served or
    an index file stays mapped; never for a time. Uses a temporary data directory.

    Examples:

        headrace verify swaps --swaps 100 --rate 500 --json
        headrace verify swaps --swaps 10 --rate 50
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import swaps as verification

    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("swaps", total=swaps)
        outcome = verification.verify_swaps(
            swaps=swaps,
            rate=rate,
            workers=workers,
            items=items,
            quiet_s=quiet_seconds,
            seed=seed,
            progress=lambda done, what: progress.update(task, completed=done, description=what),
        )
    conclude(outcome, as_json)


@verify.command("rollback")
@explained
def verify_rollback(
    rollbacks: Annotated[int, typer.Option(min=1, help="Versions to write and roll back; items to take down.")] = 50,
    as_json: Json = False,
) -> None:
    """Write policies, roll them back and take items down while two workers answer without a pause.

    Measures the time from a call to its acknowledgement by both. Exits with 1 when a request that was sent after an
    acknowledgement was answered by what was before, or not at all; never for a time. Uses a temporary data directory.

    Examples:

        headrace verify rollback --rollbacks 50 --json
        headrace verify rollback --rollbacks 5
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import rollback as verification

    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("rollbacks", total=rollbacks)
        outcome = verification.verify_rollback(
            rollbacks=rollbacks, progress=lambda done: progress.update(task, completed=done)
        )
    conclude(outcome, as_json)


@verify.command("fuzz")
@explained
def verify_fuzz(
    requests: Annotated[int, typer.Option(min=1, help="How many to send.")] = 10_000,
    url: Annotated[str, typer.Option(help="Of a running API that may be filled with nonsense; else an own one.")] = "",
    api_key: Annotated[str, typer.Option(help="For it, with every scope.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the requests.")] = 1,
    as_json: Json = False,
) -> None:
    """Send what the OpenAPI document allows and what it forbids, made by Schemathesis, to a whole running system.

    Exits with 1 when an answer is 5xx or missing, or a refusal is no problem document of at most 4 kB. Needs
    Schemathesis, which comes with the development dependencies.

    Examples:

        headrace verify fuzz --requests 10000 --json
        headrace verify fuzz --requests 500 --seed 2
        headrace verify fuzz --url http://127.0.0.1:8700 --api-key hrs_...
    """
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import Progress

    from headrace.bench.rig import rig
    from headrace.system import FLOWS, api_url

    try:
        from headrace.verify import fuzz
    except ModuleNotFoundError as error:
        raise typer.BadParameter(f"{error.name} is missing: uv sync --group dev") from None

    with ExitStack() as stack:
        if not url:
            system = stack.enter_context(rig(flows=FLOWS, api=True, warehouse=True))
            url = api_url(system.settings)
        progress = stack.enter_context(Progress(console=Console(stderr=True), disable=as_json))
        task = progress.add_task("requests", total=requests)
        outcome = fuzz.fuzz(
            url,
            requests=requests,
            seed=seed,
            api_key=api_key,
            progress=lambda done: progress.update(task, completed=done),
        )
    conclude(outcome, as_json)


@verify.command("ladder")
@explained
def verify_ladder(
    faults: Annotated[str, typer.Option(help="Comma-separated, as the table names them; or all.")] = "all",
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each thing stays broken.")] = 3.0,
    rate: Annotated[float, typer.Option(min=1, max=2000, help="Slates asked for per second.")] = 100.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the requests.")] = 1,
    as_json: Json = False,
) -> None:
    """Break state store, log, warehouse, index, model and a worker in turn, while slates are asked for without a pause.

    A state store or log is killed, stopped, late, slow, reset, half open or a black hole. Exits with 1 when a request
    was not answered, a lower rung not named, or anything that was answered or acknowledged is lost or doubled; never
    for a time. Uses a temporary data directory.

    Examples:

        headrace verify ladder --json
        headrace verify ladder --faults state-stopped,log-black-hole --seconds 10
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import ladder as verification
    from headrace.verify.faults import trials

    names = list(trials()) if faults == "all" else [name.strip() for name in faults.split(",")]
    unknown = [name for name in names if name not in trials()]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}: use all, or some of {', '.join(trials())}", param_hint="--faults")
    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("faults", total=len(names))
        outcome = verification.verify_ladder(
            names=names,
            seconds=seconds,
            rate=rate,
            seed=seed,
            progress=lambda done, name: progress.update(task, completed=done, description=name),
        )
    conclude(outcome, as_json)


@verify.command("canary")
@explained
def verify_canary(
    harmless: Annotated[
        int, typer.Option(min=20, help="Candidates like the baseline, on made-up traffic: how many are stopped?")
    ] = 200,
    live: Annotated[bool, typer.Option(help="Also on a running system.")] = True,
    as_json: Json = False,
) -> None:
    """Start canaries on a running system, and very many by the same rule on made-up traffic.

    One that shows items at random and one that leaves slots empty are to be stopped by their guardrails, one that is
    like the baseline is to take over; of candidates like the baseline, judged with nothing tolerated, at most 5 % are
    to be stopped. Exits with 1 when one ended otherwise, or answered more than a second after its end. Uses a
    temporary data directory.

    Examples:

        headrace verify canary --json
        headrace verify canary --harmless 1000 --no-live
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import canary as verification

    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("canaries", total=None)
        outcome = verification.verify_canary(
            harmless=harmless, live=live, progress=lambda what: progress.update(task, description=what)
        )
    conclude(outcome, as_json)
