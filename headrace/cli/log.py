"""Commands that look into the event log: topics, lag, read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.app import DataDir, Json, app, explained, print_json, print_table

if TYPE_CHECKING:
    from headrace.settings import Settings
    from online.ports import EventLog

log = typer.Typer(help="Look into the event log of a running system.", no_args_is_help=True)
app.add_typer(log, name="log")


@log.command()
@explained
def topics(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the topics: partitions, first and last positions, messages and bytes.

    On Pulsar the number of messages is an estimate: it keeps entries, which hold several.

    Examples:

        headrace log topics
        HEADRACE_LOG=pulsar://broker:6650/public/shop headrace log topics --json
    """
    from headrace.log_report import topics as report
    from headrace.settings import without_secret

    with _opened(data_dir) as (settings, opened):
        document = {"log": without_secret(settings.log), "topics": report(opened)}
    print_json(document) if as_json else print_table(document)


@log.command()
@explained
def lag(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show how far every view is behind the log: messages and seconds, by topic and partition.

    Examples:

        headrace log lag
        headrace log lag --json
    """
    import time
    from contextlib import closing

    from headrace.log_report import lag as report
    from online.connect import open_state

    with _opened(data_dir) as (settings, opened), closing(open_state(settings.state)) as state:
        document = {"views": report(opened, state, time.time())}
    print_json(document) if as_json else print_table(document)


@log.command()
@explained
def read(
    topic: Annotated[str, typer.Argument(help="As 'headrace log topics' lists it.")],
    partition: Annotated[int | None, typer.Option(min=0, max=65535, help="Only this one; default: all.")] = None,
    after: Annotated[str | None, typer.Option(help="Behind this position of the --partition.")] = None,
    since: Annotated[str | None, typer.Option(help="Appended then or later: RFC 3339 or epoch seconds.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; default 100, with --follow none.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Print messages as NDJSON: position and content, one message a line.

    Examples:

        headrace log read events --limit 5
        headrace log read slates --since 2026-11-24T09:00:00Z --follow
        headrace log read events --partition 2 --after 0000001795521899-00000000000000000000.9999 --json
    """
    from itertools import islice

    from headrace.log_report import line, messages

    if after is not None and (partition is None or since is not None):
        raise typer.BadParameter("a position is one of a --partition, and excludes --since", param_hint="--after")
    if follow and as_json:
        raise typer.BadParameter("one object never ends: leave out --json", param_hint="--follow")
    most = limit if limit is not None or follow else 100
    with _opened(data_dir) as (_, opened):
        found = messages(opened, topic, partition=partition, after=after, since=_time("--since", since), follow=follow)
        if as_json:
            print_json({"messages": list(islice(found, most))})
            return
        for document in islice(found, most):
            typer.echo(line(document))


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[tuple[Settings, EventLog]]:
    """Open the log of a running system.

    Raises:
        Unavailable: its log or state store does not answer.
    """
    from contextlib import closing

    from headrace.probe import require_data_dir
    from headrace.settings import load_settings
    from headrace.system import located
    from online.connect import open_log
    from online.ports import Unavailable

    settings = load_settings(data_dir=data_dir)
    require_data_dir(settings)
    settings = located(settings)
    with closing(open_log(settings.log)) as opened:
        try:
            yield settings, opened
        except Unavailable as error:
            raise Unavailable(f"log or state store do not answer ({error}): is 'headrace up' running?") from error


def _time(option: str, value: str | None) -> float | None:
    from schemas.fields import epoch_seconds

    try:
        return None if value is None else epoch_seconds(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
