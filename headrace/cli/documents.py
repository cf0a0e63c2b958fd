"""The commands that every kind of versioned document has: list, show, put, delete, rollback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from headrace.cli.api import Because, Key, Url, call_api, tell
from headrace.cli.app import Json, app, explained, print_json

DocumentId = Annotated[str, typer.Argument(metavar="ID", help="Of the document, as listed.")]
Document = Annotated[Path, typer.Option("--file", help="JSON of the document; - is stdin.")]


def document_commands(plural: str, noun: str, about: str, *, example: str) -> typer.Typer:
    """Add the commands of a kind to the application, and return their group for those it has beside.

    Args:
        plural: names the group, and the kind in the paths of the API.
        noun: one of them, in the texts of help.
        about: the help of the group.
        example: an id, for the examples.
    """
    one = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    group = typer.Typer(help=about, no_args_is_help=True)
    app.add_typer(group, name=plural)

    def command(verb: str, does: str, *words: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        return group.command(verb, help=help_of(f"{plural} {verb}", does, *words))

    @command("list", f"List the {plural} as they stand.", "", "--url http://shop:8700 --json")
    @explained
    def list_(url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
        answer = call_api("GET", f"/v1/{plural}", url, api_key)
        if as_json:
            print_json(answer)
            return
        for row in answer[plural]:
            origin = "built in" if row["built_in"] else f"changed by {row['changes'][-1]['by']}"
            typer.echo(f"{row['id']:<20} version {row['version']:<4} {origin}")

    show_does = f"Show {one}, the versions that rollbacks lead to, and who changed it when."

    @command("show", show_does, example, f"{example} --json")
    @explained
    def show(document: DocumentId, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
        tell(call_api("GET", path_of(plural, document), url, api_key), as_json)

    put_does = f"Write a new version of {one}, and wait until every worker answers by it."

    @command("put", put_does, f"{example} --file {noun}.json", f"{example} --file - --json")
    @explained
    def put(document: DocumentId, file: Document, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
        tell(call_api("PUT", path_of(plural, document), url, api_key, read_document(file)), as_json)

    delete_does = f"Take {one} away; of a built-in one what is built in is left."

    @command("delete", delete_does, example, f"{example} --json")
    @explained
    def delete(document: DocumentId, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
        tell(call_api("DELETE", path_of(plural, document), url, api_key), as_json)

    rollback_does = f"Go back to the version of {one} that was current before; again: further back."

    @command("rollback", rollback_does, example, f'{example} --because "fewer clicks" --json')
    @explained
    def rollback(
        document: DocumentId, because: Because = "", url: Url = None, api_key: Key = "", as_json: Json = False
    ) -> None:
        tell(call_api("POST", f"{path_of(plural, document)}:rollback", url, api_key, {"reason": because}), as_json)

    return group


def help_of(command: str, does: str, *words: str) -> str:
    """Return the text of a command's help, with what follows its name in each example."""
    shown = "\n".join(f"    headrace {command} {one}".rstrip() for one in words)
    return f"{does}\n\nExamples:\n\n{shown}"


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
