"""Commands that try policies and models on live requests: shadow, canary."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli.api import Because, Key, Url, call_api, tell
from headrace.cli.app import Json, app, explained, print_json, print_table
from headrace.cli.documents import help_of, path_of
from headrace.cli.models import model_path

SurfaceName = Annotated[str, typer.Argument(metavar="SURFACE", help="Where slates are shown.")]
Candidate = Annotated[str, typer.Argument(metavar="CANDIDATE", help="Id of a policy, or of a model with --model.")]
IsModel = Annotated[bool, typer.Option("--model", help="The candidate is a model: a ranker by its name.")]

shadow = typer.Typer(help="Policies and models that answer a second time, unseen.", no_args_is_help=True)
app.add_typer(shadow, name="shadow")
canary = typer.Typer(help="A policy that takes over a surface by steps, under guardrails.", no_args_is_help=True)
app.add_typer(canary, name="canary")


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


@canary.command("start")
@explained
def start_canary(
    surface: SurfaceName,
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Id of the candidate.")],
    steps: Annotated[str, typer.Option(help="Percent of the users, comma-separated.")] = "1,5,25,50,100",
    minutes: Annotated[float, typer.Option(min=0.0, help="Of a step, at least.")] = 10.0,
    slates: Annotated[int, typer.Option(min=100, help="That the candidate answers in a step, at least.")] = 1000,
    tolerate: Annotated[
        list[str] | None,
        typer.Option(help="GUARDRAIL=LOSS: errors, latency, click_rate, coverage; LOSS off: not looked at."),
    ] = None,
    because: Because = "",
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Let a candidate policy answer a growing share of a surface's users, as long as its guardrails hold.

    A guardrail that is broken stops it by itself; behind the last step the candidate answers the surface.

    Examples:

        headrace canary start home greedy-1
        headrace canary start home greedy-1 --steps 5,50,100 --minutes 30 --tolerate click_rate=0.05 --json
    """
    said = {
        "policy": policy,
        "steps": [share / 100.0 for share in _numbers(steps, "--steps")],
        "minutes": minutes,
        "slates": slates,
        "guardrails": _tolerated(tolerate or []),
        "reason": because,
    }
    tell(call_api("POST", f"{path_of('canaries', surface)}:start", url, api_key, said), as_json)


@canary.command("list")
@explained
def list_canaries(url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """List the last canary of each surface.

    Examples:

        headrace canary list
        headrace canary list --json
    """
    answer = call_api("GET", "/v1/canaries", url, api_key)
    if as_json:
        print_json(answer)
        return
    for row in answer["canaries"]:
        document = row["document"]
        share = document["steps"][document["step"]]
        typer.echo(f"{row['id']:<20} {document['policy']:<20} {document['state']:<8} {share:>5.0%}  {document['why']}")


@canary.command("show")
@explained
def show_canary(surface: SurfaceName, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Show the last canary of a surface: its state, what each guardrail says now, and who changed it when and why.

    Examples:

        headrace canary show home
        headrace canary show home --json
    """
    answer = call_api("GET", path_of("canaries", surface), url, api_key)
    if as_json:
        print_json(answer)
        return
    guardrails, changes = answer.pop("guardrails"), answer.pop("changes")
    print_table(answer)
    for one in guardrails:
        name, is_broken = one.pop("guardrail"), one.pop("is_broken")
        figures = ", ".join(f"{key} {value:.4g}" for key, value in one.items())
        typer.echo(f"{name:<12} {'broken' if is_broken else 'holds':<8} {figures}")
    for done in changes:
        typer.echo(f"{done['action']} by {done['by']}: {done['reason']}")


def _add_move(move: str, does: str, *examples: str) -> None:
    @canary.command(move, help=help_of(f"canary {move}", does, *examples))
    @explained
    def command(
        surface: SurfaceName, because: Because = "", url: Url = None, api_key: Key = "", as_json: Json = False
    ) -> None:
        tell(call_api("POST", f"{path_of('canaries', surface)}:{move}", url, api_key, {"reason": because}), as_json)


for _move, _does, _because in (
    ("pause", "Leave the candidate the share it has; guardrails still stop it.", "the sale begins"),
    ("resume", "Let the steps of a canary go on.", "the sale is over"),
    ("stop", "Take the candidate's share away: the policy that answered before answers everybody.", "odd items on top"),
    (
        "promote",
        "Let the candidate answer the whole surface now; `headrace surfaces rollback` takes it back.",
        "enough seen",
    ),
):
    _add_move(_move, _does, "home", f'home --because "{_because}" --json')


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers", param_hint=option) from None


def _tolerated(given: list[str]) -> dict[str, float | None]:
    """Return guardrail -> loss, as `click_rate=0.05` and `coverage=off` say it."""
    found: dict[str, float | None] = {}
    for one in given:
        name, _, loss = one.partition("=")
        found[name] = None if loss == "off" else _numbers(loss, "--tolerate")[0]
    return found
