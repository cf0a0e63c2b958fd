"""Commands that check what a system has recorded: audit."""

from __future__ import annotations

import typer

from headrace.cli.app import DataDir, Json, app, explained, print_json, print_table

audit = typer.Typer(help="Check what a system has recorded.", no_args_is_help=True)
app.add_typer(audit, name="audit")


@audit.callback()
def _audit() -> None:
    """Keep `audit` a group: with one command alone it would become that command."""


@audit.command()
@explained
def leakage(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Check of every slate that its features read nothing newer than the answer, and nothing of its own labels.

    Reads slates and events of a system, running or stopped. Exits with 1 when something leaked.

    Examples:

        headrace audit leakage
        headrace audit leakage --data-dir /var/lib/headrace --json
    """
    from headrace.leakage import audit_leakage
    from headrace.settings import load_settings

    document = audit_leakage(load_settings(data_dir=data_dir))
    print_json(document) if as_json else print_table(document)
    if document["leaks"]:
        raise typer.Exit(1)
