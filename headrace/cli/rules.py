"""Commands for rules of the business: what may, must or should be shown to whom, where and when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.app import Json, app, explained
from headrace.cli.control import Because, Document, Key, Url, call_api, listed, path_of, read_document, tell

RuleId = Annotated[str, typer.Argument(help="Id of the rule.")]

rules = typer.Typer(help="What may, must or should be shown: include, exclude, boost, pin, cap.", no_args_is_help=True)
app.add_typer(rules, name="rules")


@rules.command("list")
@explained
def list_rules(url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """List the rules as they stand.

    Examples:

        headrace rules list
        headrace rules list --json
    """
    listed("rules", url, api_key, as_json)


@rules.command("show")
@explained
def show_rule(rule: RuleId, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Show a rule, the versions that rollbacks lead to, and who changed it when.

    Examples:

        headrace rules show no-outlet
        headrace rules show no-outlet --json
    """
    tell(call_api("GET", path_of("rules", rule), url, api_key), as_json)


@rules.command("put")
@explained
def put_rule(rule: RuleId, file: Document, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Write a new version of a rule, and wait until every worker answers under it.

    Examples:

        headrace rules put no-outlet --file rule.json
        headrace rules put no-outlet --file - --json
    """
    tell(call_api("PUT", path_of("rules", rule), url, api_key, read_document(file)), as_json)


@rules.command("delete")
@explained
def delete_rule(rule: RuleId, url: Url = None, api_key: Key = "", as_json: Json = False) -> None:
    """Take a rule away.

    Examples:

        headrace rules delete no-outlet
        headrace rules delete no-outlet --json
    """
    tell(call_api("DELETE", path_of("rules", rule), url, api_key), as_json)


@rules.command("rollback")
@explained
def rollback_rule(
    rule: RuleId, because: Because = "", url: Url = None, api_key: Key = "", as_json: Json = False
) -> None:
    """Go back to the version of a rule that was current before; again: further back.

    Examples:

        headrace rules rollback no-outlet
        headrace rules rollback no-outlet --because "too few shoes" --json
    """
    tell(call_api("POST", f"{path_of('rules', rule)}:rollback", url, api_key, {"reason": because}), as_json)


@rules.command("dry-run")
@explained
def dry_run_rule(
    rule: RuleId,
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
