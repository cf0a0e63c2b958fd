"""Commands for what says how slates are made: policies, surfaces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from headrace.cli.app import Json, app, explained, print_json, print_table, say

Url = Annotated[str | None, typer.Option("--url", help="Of the running API; else the port of the settings.")]
Key = Annotated[str, typer.Option("--api-key", envvar="HEADRACE_API_KEY", help="Key of the running API.")]
PolicyId = Annotated[str, typer.Argument(help="Id of the policy.")]
SurfaceName = Annotated[str, typer.Argument(help="Name of the surface.")]
Because = Annotated[str, typer.Option("--because", help="Kept with the change.")]
Document = Annotated[Path, typer.Option("--file", help="JSON of the document; - is stdin.")]

policies = typer.Typer(help="The policies that answer: retrievers, ranker, exploration, caps.", no_args_is_help=True)
surfaces = typer.Typer(help="Where slates are shown, and what answers there.", no_args_is_help=True)
app.add_typer(policies, name="policies")
app.add_typer(surfaces, name="surfaces")


@policies.command("list")
@explained
def list_policies(url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """List the policies as they stand.

    Examples:

        headrace policies list
        headrace policies list --url http://shop:8700 --json
    """
    listed("policies", url, api_key, as_json)


@policies.command("show")
@explained
def show_policy(policy: PolicyId, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Show a policy, the versions that rollbacks lead to, and who changed it when.

    Examples:

        headrace policies show personal-1
        headrace policies show personal-1 --json
    """
    tell(call_api("GET", path_of("policies", policy), url, api_key), as_json)


@policies.command("put")
@explained
def put_policy(policy: PolicyId, file: Document, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Write a new version of a policy, and wait until every worker answers by it.

    Examples:

        headrace policies put personal-1 --file policy.json
        headrace policies put calm --file - --json
    """
    tell(call_api("PUT", path_of("policies", policy), url, api_key, read_document(file)), as_json)


@policies.command("delete")
@explained
def delete_policy(policy: PolicyId, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Take a policy away; of a built-in one what is built in is left.

    Examples:

        headrace policies delete calm
        headrace policies delete personal-1 --json
    """
    tell(call_api("DELETE", path_of("policies", policy), url, api_key), as_json)


@policies.command("rollback")
@explained
def rollback_policy(
    policy: PolicyId, because: Because = "", url: Url = None, api_key: Key = "", as_json: Json = False
) -> None:
    """Go back to the version of a policy that was current before; again: further back.

    Examples:

        headrace policies rollback personal-1
        headrace policies rollback personal-1 --because "fewer clicks" --json
    """
    tell(call_api("POST", f"{path_of('policies', policy)}:rollback", url, api_key, {"reason": because}), as_json)


@surfaces.command("list")
@explained
def list_surfaces(url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """List the surfaces as they stand.

    Examples:

        headrace surfaces list
        headrace surfaces list --json
    """
    listed("surfaces", url, api_key, as_json)


@surfaces.command("show")
@explained
def show_surface(surface: SurfaceName, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Show a surface: policy, slate size, deadline, weighting, what it is judged by, and who changed it when.

    Examples:

        headrace surfaces show home
        headrace surfaces show email --json
    """
    tell(call_api("GET", path_of("surfaces", surface), url, api_key), as_json)


@surfaces.command("put")
@explained
def put_surface(
    surface: SurfaceName, file: Document, url: Url = None, api_key: Key = "", as_json: Json = False
) -> None:
    """Register a surface, or write a new version of it.

    Examples:

        headrace surfaces put lounge --file lounge.json
        headrace surfaces put home --file - --json
    """
    tell(call_api("PUT", path_of("surfaces", surface), url, api_key, read_document(file)), as_json)


@surfaces.command("delete")
@explained
def delete_surface(surface: SurfaceName, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Take a surface away; of a built-in one what is built in is left.

    Examples:

        headrace surfaces delete lounge
        headrace surfaces delete lounge --json
    """
    tell(call_api("DELETE", path_of("surfaces", surface), url, api_key), as_json)


@surfaces.command("activate")
@explained
def activate(
    surface: SurfaceName,
    policy: PolicyId,
    because: Because = "",
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Let another policy answer on a surface.

    Examples:

        headrace surfaces activate home thompson-1
        headrace surfaces activate email popularity-1 --because "nothing else is ready" --json
    """
    said = {"policy": policy, "reason": because}
    tell(call_api("POST", f"{path_of('surfaces', surface)}:activate", url, api_key, said), as_json)


@surfaces.command("rollback")
@explained
def rollback_surface(
    surface: SurfaceName, because: Because = "", url: Url = None, api_key: Key = "", as_json: Json = False
) -> None:
    """Go back to the version of a surface that was current before, and to the policy it named.

    Examples:

        headrace surfaces rollback home
        headrace surfaces rollback home --because "slow" --json
    """
    tell(call_api("POST", f"{path_of('surfaces', surface)}:rollback", url, api_key, {"reason": because}), as_json)


def call_api(method: str, path: str, url: str | None, api_key: str, document: dict[str, Any] | None = None) -> Any:
    """Return the answer of the running API.

    Raises:
        Unavailable: it does not answer.
        Rejected: it refuses the request.
    """
    from contextlib import closing

    from headrace.settings import load_settings
    from headrace.system import api_url
    from replay.http_system import HttpSystem

    settings = load_settings()
    key = api_key or next(iter(settings.api_keys), "")
    with closing(HttpSystem(url or api_url(settings), api_key=key)) as api:
        return api.call(method, path, document)[1]


def tell(answer: dict[str, Any], as_json: bool) -> None:
    """Print an answer, and on stderr which workers do not apply the change yet."""
    print_json(answer) if as_json else print_table(answer)
    if answer.get("lagging", []) is None:
        say("the state store does not say which workers apply it")
    elif answer.get("lagging"):
        say(f"not applied yet by {', '.join(answer['lagging'])}")


def listed(plural: str, url: str | None, api_key: str, as_json: bool) -> None:
    """Print the documents of a kind as they stand."""
    answer = call_api("GET", f"/v1/{plural}", url, api_key)
    if as_json:
        print_json(answer)
        return
    for row in answer[plural]:
        origin = "built in" if row["built_in"] else f"changed by {row['changes'][-1]['by']}"
        typer.echo(f"{row['id']:<20} version {row['version']:<4} {origin}")


def path_of(plural: str, document_id: str) -> str:
    """Return the path of a document of the API."""
    return f"/v1/{plural}/{quote(document_id, safe='')}"


def read_document(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file, or of stdin for -."""
    import json

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        document = json.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint="--file") from None
    except ValueError as error:
        raise typer.BadParameter(f"{path} is no JSON: {error}", param_hint="--file") from None
    if not isinstance(document, dict):
        raise typer.BadParameter(f"{path} holds no JSON object", param_hint="--file")
    return document
