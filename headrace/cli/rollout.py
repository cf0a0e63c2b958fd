"""Commands that try policies and models on live requests: shadow."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli.api import Because, Key, Url, call_api, tell
from headrace.cli.app import Json, app, explained, print_json, print_table
from headrace.cli.documents import path_of
from headrace.cli.models import model_path

SurfaceName = Annotated[str, typer.Argument(metavar="SURFACE", help="Where slates are shown.")]
Candidate = Annotated[str, typer.Argument(metavar="CANDIDATE", help="Id of a policy, or of a model with --model.")]
IsModel = Annotated[bool, typer.Option("--model", help="The candidate is a model: a ranker by its name.")]

shadow = typer.Typer(help="Policies and models that answer a second time, unseen.", no_args_is_help=True)
app.add_typer(shadow, name="shadow")


@shadow.command("start")
@explained
def start_shadow(
    surface: SurfaceName,
    candidate: Candidate,
    model: IsModel = False,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the requests.")] = 0.1,
    because: Because = "",
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Let a policy or a model answer a share of a surface's requests a second time, without being shown.

    Examples:

        headrace shadow start home greedy-1 --share 0.2
        headrace shadow start home newton-1 --model --json
    """
    tell(_set(surface, candidate, model, share, because, url, api_key), as_json)


@shadow.command("stop")
@explained
def stop_shadow(
    surface: SurfaceName,
    candidate: Candidate,
    model: IsModel = False,
    because: Because = "",
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Let a shadow of a surface answer no more.

    Examples:

        headrace shadow stop home greedy-1
        headrace shadow stop home newton-1 --model --json
    """
    tell(_set(surface, candidate, model, 0.0, because, url, api_key), as_json)


@shadow.command("show")
@explained
def show_shadow(
    surface: SurfaceName,
    hours: Annotated[float, typer.Option(min=0.01, help="How far back.")] = 24.0,
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Show how alike the slates of a surface's shadows are to those served, and what they cost.

    Overlap is the share of items in both, rank-biased overlap counts the top more (both 1 for the same slate), rank
    shift is by how many ranks the shared items differ; with intervals that hold however often one looks.

    Examples:

        headrace shadow show home
        headrace shadow show home --hours 1 --json
    """
    answer = call_api("GET", f"{path_of('surfaces', surface)}/shadow?hours={hours:g}", url, api_key)
    if as_json:
        print_json(answer)
        return
    compared = answer.pop("compared")
    print_table(answer)
    for one in compared:
        typer.echo(f"{one.pop('model') or one.pop('policy_id')} beside {one.pop('served_policy_id')}")
        print_table(one, "  ")


def _set(surface: str, candidate: str, model: bool, share: float, because: str, url: str | None, api_key: str) -> Any:
    path, said = path_of("surfaces", surface), {"policy": candidate}
    if model:
        path, said = model_path(candidate), {"surface": surface}
    return call_api("POST", f"{path}:shadow", url, api_key, {**said, "share": share, "reason": because})
