"""The application, and what its commands share: options, output, errors in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    name="headrace",
    help="A streaming-first real-time recommender: a click changes what its user sees next.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where embedded services keep their data.")]
Port = Annotated[int | None, typer.Option("--port", help="Port of the API.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]


def say(message: str) -> None:
    """Tell a person something, on stderr."""
    typer.echo(message, err=True)


def print_json(document: Any) -> None:
    """Print the one JSON object of a `--json` run."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    sys.stdout.flush()


def print_table(document: dict[str, Any], indent: str = "") -> None:
    """Print a document for a person: one line a value, nested ones indented."""
    width = max((len(name) for name in document), default=0)
    for name, value in document.items():
        if isinstance(value, dict) and value:
            typer.echo(f"{indent}{name}")
            print_table(value, indent + "  ")
        elif value not in ({}, []):
            typer.echo(f"{indent}{name:<{width}}  {value}")


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors a user can act on into one line and exit status 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from headrace.errors import USER_ERRORS

        try:
            return command(*args, **kwargs)
        except USER_ERRORS as error:
            say(f"headrace: {error}")
            raise typer.Exit(2) from None

    return run
