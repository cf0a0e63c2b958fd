"""What commands share that ask a running API: options, the call, the answer told."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli.app import print_json, print_table, say

Url = Annotated[str | None, typer.Option("--url", help="Of the running API; else the port of the settings.")]
Key = Annotated[str, typer.Option("--api-key", envvar="HEADRACE_API_KEY", help="Key of the running API.")]
Because = Annotated[str, typer.Option("--because", help="Kept with the change.")]


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
