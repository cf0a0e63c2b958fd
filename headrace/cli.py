"""The command line. Commands import what they need when they run, so that `--help` is instant."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="headrace",
    help="A streaming-first real-time recommender: a click changes what its user sees next.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
runner = typer.Typer(hidden=True, help="Child processes of `headrace up`.")
app.add_typer(runner, name="run")

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where embedded services keep their data.")]
Port = Annotated[int | None, typer.Option("--port", help="Port of the API.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]


def say(message: str) -> None:
    """Tell a person something, on stderr."""
    typer.echo(message, err=True)


def print_json(document: Any) -> None:
    """Print the one JSON object of a `--json` run."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors a user can act on into one line and exit status 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from headrace.errors import USER_ERRORS

        try:
            return command(*args, **kwargs)
        except USER_ERRORS as error:
            say(f"headrace: {error}")
            raise typer.Exit(2) from None

    return run


@app.command()
@explained
def up(data_dir: DataDir = None, port: Port = None, as_json: Json = False) -> None:
    """Start everything and run until Ctrl-C: embedded services, flows and the API.

    Examples:

        headrace up
        headrace up --port 9000 --data-dir /var/lib/headrace
        HEADRACE_STATE=redis://host:6379 HEADRACE_LOG=redis://host:6379 headrace up --json
    """
    from headrace.settings import load_settings
    from headrace.up import run_system

    run_system(load_settings(data_dir=data_dir, port=port), as_json=as_json)


@app.command()
@explained
def config(data_dir: DataDir = None, port: Port = None, as_json: Json = False) -> None:
    """Print the settings in force, without secrets.

    Examples:

        headrace config
        HEADRACE_PORT=9000 headrace config --json
    """
    from headrace.settings import Settings, load_settings

    shown = load_settings(data_dir=data_dir, port=port).shown()
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        description = Settings.model_fields[name].description
        typer.echo(f"HEADRACE_{name.upper():<15} {value if value != '' else '(embedded)'!s:<24} {description}")


@app.command()
@explained
def schema(
    out: Annotated[Path, typer.Option("--out", help="Directory of the documents; made when missing.")] = Path(
        "docs/schemas"
    ),
    as_json: Json = False,
) -> None:
    """Write JSON Schema of every document and AsyncAPI of the log's topics, derived from the code.

    Examples:

        headrace schema
        headrace schema --out /tmp/schemas --json
    """
    from headrace.schema import write

    try:
        paths = write(out)
    except OSError as error:
        raise typer.BadParameter(f"cannot write to {out}: {error.strerror}", param_hint="--out") from None
    if as_json:
        print_json({"directory": str(out), "files": [path.name for path in paths]})
        return
    for path in paths:
        typer.echo(path)


verify = typer.Typer(help="Prove what the system promises.", no_args_is_help=True)
app.add_typer(verify, name="verify")


@verify.command("crash")
@explained
def verify_crash(
    kills: Annotated[int, typer.Option(min=1, help="How many times something is killed.")] = 20,
    targets: Annotated[str, typer.Option(help="Comma-separated: flow, state, or all.")] = "all",
    seed: Annotated[int, typer.Option(help="Of the load, the targets and the moments.")] = 1,
    as_json: Json = False,
) -> None:
    """Kill (-9) the flow and the store at random points under load; compare every record with the oracle.

    Exits with 1 when anything was lost, doubled or differs. Uses a temporary data directory.

    Examples:

        headrace verify crash --kills 20 --json
        headrace verify crash --kills 5 --targets flow --seed 7
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import Progress

    from headrace import verify as verification

    chosen = list(verification.TARGETS) if targets == "all" else targets.split(",")
    unknown = sorted(set(chosen) - set(verification.TARGETS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: targets are {', '.join(verification.TARGETS)} or all")
    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("kills", total=kills)
        outcome = verification.verify_crash(
            kills=kills,
            targets=chosen,
            seed=seed,
            progress=lambda done, name: progress.update(task, completed=done, description=f"killed {name}"),
        )
    if as_json:
        print_json(asdict(outcome))
    else:
        for name, value in asdict(outcome).items():
            typer.echo(f"{name:<20}{value}")
    if not outcome.is_correct:
        raise typer.Exit(1)


@runner.command("flow")
@explained
def run_flow(name: str) -> None:
    """Run one flow."""
    from headrace import process
    from headrace.settings import load_settings

    process.configure_logging()
    process.FLOWS[name](load_settings())


@runner.command("api")
@explained
def run_api(number: int) -> None:
    """Run one API worker."""
    from headrace import process
    from headrace.settings import load_settings

    process.configure_logging()
    process.run_api(load_settings(), number)


def main() -> None:
    """Run the command line."""
    app()
