"""Commands that prove and measure: verify, bench."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from headrace.cli.app import Json, app, explained, print_json, print_table

verify = typer.Typer(help="Prove what the system promises.", no_args_is_help=True)
app.add_typer(verify, name="verify")


@verify.command("crash")
@explained
def verify_crash(
    kills: Annotated[int, typer.Option(min=1, help="How many times something is killed.")] = 20,
    targets: Annotated[str, typer.Option(help="Comma-separated: flow, state, or all.")] = "all",
    seed: Annotated[int, typer.Option(min=0, help="Of the load, the targets and the moments.")] = 1,
    as_json: Json = False,
) -> None:
    """Kill (-9) the flow and the store at random points under load; compare every record with the oracle.

    Exits with 1 when anything was lost, doubled or differs. Uses a temporary data directory.

    Examples:

        headrace verify crash --kills 20 --json
        headrace verify crash --kills 5 --targets flow --seed 7
    """
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
    document = asdict(outcome)
    print_json(document) if as_json else print_table(document)
    if not outcome.is_correct:
        raise typer.Exit(1)
