"""The command line. Commands import what they need when they run, so that `--help` is instant."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def application() -> typer.Typer:
    """Return the application with all its commands."""
    from headrace.cli import (  # noqa: F401  each adds its commands to the application
        audit,
        bridge,
        control,
        dead_letters,
        evaluate,
        experiments,
        keys,
        log,
        measure,
        models,
        operate,
        past,
        prove,
        rollout,
        slates,
    )
    from headrace.cli.app import app

    return app


def main() -> None:
    """Run the command line. What is wrong with its words is told in one line, as every other error of a user."""
    from typer import TyperException

    from headrace.cli.app import say

    try:
        sys.exit(application()(standalone_mode=False))
    except TyperException as error:
        message = " ".join(error.format_message().split())
        if message:  # empty: the help was shown in its place
            say(f"headrace: {message} (--help shows examples)")
        sys.exit(error.exit_code)
