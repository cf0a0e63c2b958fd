"""Commands for what says how slates are made: policies, surfaces, rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.api import Because, Key, Url, call_api, tell
from headrace.cli.app import Json, explained
from headrace.cli.documents import DocumentId, document_commands, path_of, read_document

document_commands(
    "policies", "policy", "The policies that answer: retrievers, ranker, exploration, caps.", example="calm"
)
surfaces = document_commands("surfaces", "surface", "Where slates are shown, and what answers there.", example="lounge")
rules = document_commands(
    "rules", "rule", "What may, must or should be shown: include, exclude, boost, pin, cap.", example="no-outlet"
)


@surfaces.command()
@explained
def activate(
    surface: DocumentId,
    policy: Annotated[str, typer.Argument(help="Id of the policy.")],
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


@rules.command("dry-run")
@explained
def dry_run(
    rule: DocumentId,
    file: Annotated[Path | None, typer.Option("--file", help="JSON of the rule; default: the stored one.")] = None,
    slates: Annotated[int, typer.Option(min=1, max=1000, help="How many of the last slates.")] = 200,
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Say what a rule would change on the slates served last: slates, items, coverage, examples. Nothing is kept.

    Examples:

        headrace rules dry-run no-outlet --file rule.json
        headrace rules dry-run no-outlet --slates 1000 --json
    """
    asked: dict[str, Any] = {"slates": slates}
    if file is not None:
        asked["rule"] = read_document(file)
    tell(call_api("POST", f"{path_of('rules', rule)}:dry_run", url, api_key, asked), as_json)
