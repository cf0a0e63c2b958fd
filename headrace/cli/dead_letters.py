"""Commands for dead letters: list, show, redrive, discard."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.app import DataDir, Json, app, explained, print_json, print_table, say

if TYPE_CHECKING:
    from online.dead_letters import DeadLetters, Filter, Outcome

letters = typer.Typer(help="What no flow could fold: look into it, send it again or discard it.", no_args_is_help=True)
app.add_typer(letters, name="dead-letters")

BY = "cli"
Topic = Annotated[str | None, typer.Option("--topic", help="Where the message stood.")]
Partition = Annotated[int | None, typer.Option("--partition", min=0, max=65535, help="Of the topic.")]
Why = Annotated[str | None, typer.Option("--reason", help="A part of the reason's text.")]
Since = Annotated[str | None, typer.Option("--since", help="Found then or later: RFC 3339 or epoch seconds.")]
Until = Annotated[str | None, typer.Option("--until", help="Found before.")]
Every = Annotated[bool, typer.Option("--all", help="Every pending letter; needed when there is no filter.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
Letter = Annotated[str | None, typer.Argument(help="Id of one letter, as listed; else those of the filter.")]


@letters.command("list")
@explained
def list_letters(
    topic: Topic = None,
    partition: Partition = None,
    reason: Why = None,
    since: Since = None,
    until: Until = None,
    status: Annotated[str, typer.Option(help="pending, redriven, discarded or any.")] = "pending",
    limit: Limit = 100,
    cursor: Annotated[int | None, typer.Option(min=0, help="`next_cursor` of the page before.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first.

    Examples:

        headrace dead-letters list
        headrace dead-letters list --reason "unknown event_type" --since 2026-11-24T00:00:00Z --json
        headrace dead-letters list --status any --limit 10
    """
    from online.dead_letters import described

    which = _filter(topic, partition, reason, since, until, status)
    with _opened(data_dir) as found:
        page = found.page(which, limit=limit, cursor=cursor)
    rows = [described(key, letter) for key, letter in page.letters]
    if as_json:
        print_json({"letters": rows, "next_cursor": page.cursor})
        return
    for row in rows:
        when = datetime.fromtimestamp(row["found_at"], UTC).strftime("%Y-%m-%d %H:%M:%S") if row["found_at"] else "-"
        typer.echo(f"{row['id']}  {when}  {row['status']}  {row['reason']}")
    if page.cursor is not None:
        say(f"there are more: --cursor {page.cursor}")


@letters.command("show")
@explained
def show(
    letter: Annotated[str, typer.Argument(help="Id of the letter, as listed.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show a dead letter with its original bytes, as text or in base64.

    Examples:

        headrace dead-letters show events:0:0001795521600000-00000000000000000000.9999
        headrace dead-letters show ID --json
    """
    from online.dead_letters import described, readable

    with _opened(data_dir) as found:
        entry, payload = found.show(letter)
    document = {**described(letter, entry), **readable(payload)}
    print_json(document) if as_json else print_table(document)


@letters.command("redrive")
@explained
def redrive(
    letter: Letter = None,
    payload: Annotated[
        Path | None,
        typer.Option("--payload", help="File of the edited JSON; - is stdin."),
    ] = None,
    topic: Topic = None,
    partition: Partition = None,
    reason: Why = None,
    since: Since = None,
    until: Until = None,
    every: Every = False,
    because: Annotated[str, typer.Option("--because", help="Kept with the verdict.")] = "",
    limit: Limit = 1000,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Send dead letters again, as they are or one of them edited. Each counts once, however often it is sent.

    Those that still cannot be folded stay pending; `errors` says why.

    Examples:

        headrace dead-letters redrive ID --payload fixed.json
        headrace dead-letters redrive --reason "unknown event_type" --limit 500
        headrace dead-letters redrive --all --json
    """
    which = _which(letter, every, topic, partition, reason, since, until)
    if letter is None and payload is not None:
        raise typer.BadParameter("an edited payload goes with the id of one letter", param_hint="--payload")
    edited = None if payload is None else _read(payload)

    def decide(found: DeadLetters) -> Outcome:
        if letter is not None:
            return found.redrive(letter, by=BY, edited=edited, reason=because)
        return found.redrive_all(which, by=BY, limit=limit, reason=because)

    _decide(data_dir, as_json, decide)


@letters.command("discard")
@explained
def discard(
    because: Annotated[str, typer.Option("--because", help="Why; kept with the verdict.")],
    letter: Letter = None,
    topic: Topic = None,
    partition: Partition = None,
    reason: Why = None,
    since: Since = None,
    until: Until = None,
    every: Every = False,
    limit: Limit = 1000,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take dead letters from the pending ones for good; the archive keeps them.

    Examples:

        headrace dead-letters discard ID --because "a test of ours"
        headrace dead-letters discard --topic events --reason "not UTF-8" --because "scanner traffic"
    """
    which = _which(letter, every, topic, partition, reason, since, until)

    def decide(found: DeadLetters) -> Outcome:
        if letter is not None:
            return found.discard(letter, by=BY, reason=because)
        return found.discard_all(which, by=BY, reason=because, limit=limit)

    _decide(data_dir, as_json, decide)


def _decide(data_dir: Path | None, as_json: bool, decide: Callable[[DeadLetters], Outcome]) -> None:
    with _opened(data_dir) as found:
        outcome = decide(found)
    document: dict[str, Any] = {
        "accepted": len(outcome.decided),
        "rejected": len(outcome.refused),
        "errors": [{"id": key, "message": why} for key, why in outcome.refused.items()],
        "left": outcome.left,
        "applied": outcome.is_shown,
    }
    print_json(document) if as_json else print_table(document)
    if not outcome.is_shown:
        say("the state flow has not carried it out yet: it will when it runs")


@contextmanager
def _opened(data_dir: Path | None) -> Iterator[DeadLetters]:
    """Open the dead letters of a running system.

    Raises:
        Unavailable: its log or state store does not answer.
    """
    from contextlib import closing

    from headrace.probe import require_data_dir
    from headrace.settings import load_settings
    from headrace.system import located
    from online.connect import open_log, open_state
    from online.dead_letters import DeadLetters
    from online.ports import Unavailable

    settings = load_settings(data_dir=data_dir)
    require_data_dir(settings)
    settings = located(settings)
    with closing(open_log(settings.log)) as log, closing(open_state(settings.state)) as state:
        try:
            yield DeadLetters(log=log, state=state)
        except Unavailable as error:
            raise Unavailable(f"log or state store do not answer ({error}): is 'headrace up' running?") from error


def _which(
    letter: str | None,
    every: bool,
    topic: str | None,
    partition: int | None,
    reason: str | None,
    since: str | None,
    until: str | None,
) -> Filter:
    which = _filter(topic, partition, reason, since, until, "pending")
    if letter is None and which.is_empty and not every:
        raise typer.BadParameter("give the id of a letter, a filter such as --reason, or --all")
    if letter is not None and (every or not which.is_empty):
        raise typer.BadParameter("give the id of a letter or a filter, not both")
    return which


def _filter(
    topic: str | None, partition: int | None, reason: str | None, since: str | None, until: str | None, status: str
) -> Filter:
    from typing import get_args

    from online.core.letters import Status
    from online.dead_letters import Filter

    known = {name: name for name in get_args(Status)} | {"any": None}
    if status not in known:
        raise typer.BadParameter(f"{status!r}: use {', '.join(known)}", param_hint="--status")
    return Filter(topic, partition, reason, _time("--since", since), _time("--until", until), known[status])


def _time(option: str, value: str | None) -> float | None:
    from schemas.fields import epoch_seconds

    try:
        return None if value is None else epoch_seconds(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _read(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint="--payload") from None
