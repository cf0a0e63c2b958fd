"""The command line. Commands import what they need when they run, so that `--help` is instant."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from headrace.cli import operate, past, prove  # noqa: F401  each adds its commands to the application
    from headrace.cli.app import app

    app()
