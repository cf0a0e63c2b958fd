"""Commands that tell of slates that were served: slates."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from headrace.cli.api import Key, Url, call_api
from headrace.cli.app import Json, app, explained, print_json, print_table

slates = typer.Typer(help="Slates that were served.", no_args_is_help=True)
app.add_typer(slates, name="slates")


@slates.callback()
def _group() -> None:
    """Keep the group a group, though it has one command."""


@slates.command()
@explained
def explain(
    slate: Annotated[str, typer.Argument(metavar="ID", help="The recommendation_id that came with the slate.")],
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Explain a slate: the terms that each score adds up from, the events behind them, what was left out and why.

    Examples:

        headrace slates explain 3-0199f0a3b2c00112233445566aa
        headrace slates explain 3-0199f0a3b2c00112233445566aa --json
    """
    answer = call_api("GET", f"/v1/recommendations/{quote(slate, safe='')}/explain", url, api_key)
    if as_json:
        print_json(answer)
        return
    items, user = answer.pop("items"), answer.pop("user")
    for item in items:
        _tell_item(item)
    for affinity in user["affinities"] if user else ():
        _tell_affinity(affinity)
    print_table(answer)


def _tell_item(item: dict[str, Any]) -> None:
    head = f"{item['position']:>3}  {item['item_id']}  score {item['score']:.4f}"
    typer.echo(f"{head}  propensity {item['propensity']:.4f}  redundancy {item['redundancy']:.2f}")
    if item["parts"] is None:
        typer.echo("     the version of the model that scored is not kept any more")
    for part in item["parts"] or ():
        of = "" if part["value"] is None else f"  of {part['value']:.4f}"
        typer.echo(f"     {part['contribution']:>+9.4f}  {part['name']}{of}")
    found = [f"{one['source']} {one['rank'] or ''}".rstrip() for one in item["sources"]]
    typer.echo(f"     by {', '.join([*found, *item['rules']]) or item['source']}")


def _tell_affinity(affinity: dict[str, Any]) -> None:
    slots = ", ".join(map(str, affinity["positions"]))
    typer.echo(f"{affinity['facet']} {affinity['key']}  spoke for {slots}")
    for event in affinity["events"]:
        weights = f"{event['recent']:>9.4f} {event['lasting']:>9.4f}"
        typer.echo(f"     {weights}  {event['event_type']} of {event['item_id']} at {event['timestamp']:.0f}")
    typer.echo(f"     {affinity['earlier_recent']:>9.4f} {affinity['earlier_lasting']:>9.4f}  earlier events")
