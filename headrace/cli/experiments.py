"""Commands for experiments: what is compared, what it says, and the proof that it says so only when it is so."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli.api import Because, Key, Url, call_api, tell
from headrace.cli.app import Json, explained
from headrace.cli.documents import DocumentId, document_commands, path_of
from headrace.cli.prove import conclude, verify

experiments = document_commands(
    "experiments", "experiment", "Which policies are compared on which share of the users.", example="diverse"
)


@experiments.command()
@explained
def stop(
    experiment: DocumentId, because: Because = "", url: Url = None, api_key: Key = "", as_json: Json = False
) -> None:
    """End an experiment: the surface's policy answers again; results stay.

    Examples:

        headrace experiments stop diverse
        headrace experiments stop diverse --because "it has won" --json
    """
    tell(call_api("POST", f"{path_of('experiments', experiment)}:stop", url, api_key, {"reason": because}), as_json)


@experiments.command()
@explained
def results(experiment: DocumentId, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Compare the variants of an experiment; of `holdout`, everybody with those who are never learned from.

    Look whenever you like: intervals and the check of the split hold at all times at once.

    Examples:

        headrace experiments results diverse
        headrace experiments results holdout --json
    """
    tell(call_api("GET", f"{path_of('experiments', experiment)}/results", url, api_key), as_json)


@verify.command("aa")
@explained
def verify_aa(
    runs: Annotated[int, typer.Option(min=0, help="Experiments in which nothing differs.")] = 1000,
    days: Annotated[int, typer.Option(min=1, help="Each is looked at every day, for so many.")] = 28,
    units: Annotated[int, typer.Option(min=200, help="Units of each.")] = 8000,
    share: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of them in the new variant.")] = 0.5,
    planted: Annotated[int, typer.Option(min=0, help="Experiments with an effect, and with lost units.")] = 100,
    effect: Annotated[float, typer.Option(min=0.0, help="By how much more is clicked there.")] = 0.5,
    lost: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the new variant's units lost there.")] = 0.15,
    seed: Annotated[int, typer.Option(min=0, help="Of units and what they do.")] = 1,
    as_json: Json = False,
) -> None:
    """Simulate A/A experiments, looked at every day by the code that answers results; count false wins and alarms.

    Others have an effect, or lose units, which is to be found. Exits with 1 when more is called than chance allows, or
    what is planted stays hidden.

    Examples:

        headrace verify aa --runs 1000 --days 28 --json
        headrace verify aa --runs 200 --share 0.02 --planted 0
    """
    from rich.console import Console
    from rich.progress import Progress

    from headrace.verify import aa as verification

    trial = verification.Trial(runs, days, units, share, planted, effect, lost, seed)
    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        task = progress.add_task("experiments", total=runs + 2 * planted)
        outcome = verification.verify_aa(trial, lambda done: progress.update(task, completed=done))
    conclude(outcome, as_json)
