"""Commands that score recorded data: evaluate."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.app import Json, app, explained, print_json, print_table

evaluate = typer.Typer(
    help="Score recorded data: predict, then learn, in time order, with n and 95 % intervals.", no_args_is_help=True
)
app.add_typer(evaluate, name="evaluate")

Format = Annotated[str, typer.Option("--format", help="Mapping of the file's columns; auto finds it by the columns.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random, bootstrap included.")]


class Repeats(StrEnum):
    """Whether items that somebody has had before may be recommended."""

    allowed = "allowed"
    excluded = "excluded"


@evaluate.command()
@explained
def users(
    events: Annotated[Path, typer.Option("--events", help="NDJSON, Parquet or CSV file of recorded events.")],
    cut: Annotated[str, typer.Option(help="Users and items first seen from here on are scored: epoch s or ISO date.")],
    until: Annotated[str, typer.Option(help="Read nothing from here on: for tuning on what precedes a test.")] = "",
    ahead: Annotated[int, typer.Option(min=1, help="A user's next items that count as relevant.")] = 10,
    repeats: Annotated[
        Repeats, typer.Option(help="Excluded: what the user has touched is neither shown nor a target.")
    ] = Repeats.excluded,
    mapping: Format = "auto",
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Score slates for users after their first 0, 1, 2, 3, 5 and 10 events, and for items as they come up.

    Against the popularity policy and all-time popularity on the same cases; slots are greedy.

    Examples:

        headrace evaluate users --events ratings.csv --cut 2012-06-09 --json
        headrace evaluate users --events retail.parquet --cut 2010-08-23 --until 2010-10-29
    """
    from headrace.user_evaluation import evaluate_users
    from replay.user_evaluation import UserEvaluationConfig

    config = UserEvaluationConfig(
        cut=_moment(cut, "--cut"),
        until=_moment(until, "--until") if until else None,
        ahead=ahead,
        repeats=repeats is Repeats.allowed,
    )
    document = evaluate_users(events, config, mapping=mapping, seed=seed)
    print_json(document) if as_json else print_table(document)


class Mode(StrEnum):
    """Whether the models learn while they are scored."""

    static = "static"
    streaming = "streaming"


@evaluate.command()
@explained
def sessions(
    train: Annotated[Path, typer.Option(help="NDJSON, Parquet or CSV file of sessions to learn.")],
    test: Annotated[Path, typer.Option(help="File of the sessions to score: every prefix of each is a case.")],
    valid: Annotated[Path | None, typer.Option(help="Sessions to tune on, scored in the same way.")] = None,
    mode: Annotated[Mode, typer.Option(help="Static: learn train only. Streaming: predict, then learn.")] = Mode.static,
    repeats: Annotated[
        Repeats, typer.Option(help="Excluded: the item a session is at is not shown, and a miss as a target.")
    ] = Repeats.allowed,
    mapping: Format = "auto",
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Score the next item of sessions: the learned blend, session-kNN, sequential rules and popularity.

    Examples:

        headrace evaluate sessions --train train.parquet --test test.parquet --json
        headrace evaluate sessions --train train.parquet --test test.parquet --mode streaming --repeats excluded
    """
    from headrace.session_evaluation import evaluate_sessions

    document = evaluate_sessions(
        train,
        test,
        valid,
        is_streaming=mode is Mode.streaming,
        repeats=repeats is Repeats.allowed,
        mapping=mapping,
        seed=seed,
    )
    print_json(document) if as_json else print_table(document)


def _moment(text: str, option: str) -> float:
    """Return epoch seconds; a date without a zone is UTC."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither epoch seconds nor an ISO date", param_hint=option) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@evaluate.command()
@explained
def slates(
    events: Annotated[Path, typer.Option("--events", help="NDJSON, Parquet or CSV file of recorded events.")],
    after: Annotated[str, typer.Option(help="Score lists shown from here on: epoch s or ISO date.")] = "",
    last: Annotated[int | None, typer.Option(min=1, help="Score no more than the last so many.")] = None,
    until: Annotated[str, typer.Option(help="Read nothing from here on: for tuning on what precedes a test.")] = "",
    mapping: Format = "auto",
    seed: Seed = 7,
    as_json: Json = False,
) -> None:
    """Rank each recorded list again just before its click, then learn it; the mean reciprocal rank of what was chosen.

    Against the order displayed and what was touched last first, on the same cases; what each group of features adds.

    Examples:

        headrace evaluate slates --events searches.parquet --last 2000 --json
        headrace evaluate slates --events searches.parquet --until 2018-11-07T16:00:00 --last 1000
    """
    from headrace.slate_evaluation import evaluate_slates

    document = evaluate_slates(
        events,
        after=_moment(after, "--after") if after else None,
        last=last,
        until=_moment(until, "--until") if until else None,
        mapping=mapping,
        seed=seed,
    )
    print_json(document) if as_json else print_table(document)
