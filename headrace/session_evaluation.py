"""`headrace evaluate sessions`: next items of recorded sessions, by the models that serve them, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headrace.recorded import bar, chosen_mapping
from headrace.settings import SettingsError
from online.adapters.chdb_files import ChdbFiles
from online.core.item_table import Vocabulary
from online.core.session import hash64
from online.core.step import event_weight
from replay.mapping import FileReader
from replay.recorded import BadRows, read_events
from replay.session_evaluation import Clicks, Report, SessionEvaluation, document, gain, session_numbers
from schemas.event import WEIGHTS, accept, user_key

SESSIONS = 1_000_000  # that the index keeps at most


def evaluate_sessions(
    train: Path, test: Path, valid: Path | None, *, is_streaming: bool, repeats: bool, mapping: str, seed: int
) -> dict[str, Any]:
    """Learn train, score test, and valid beside it where it is given; a bar shows the progress on stderr.

    Raises:
        SettingsError: a file has no session of two clicks, or there is no such mapping.
        BadFile: a file cannot be read, or fits no mapping.
    """
    began, items, bad = time.monotonic(), Vocabulary(), BadRows()
    reader = ChdbFiles()
    learned = read_clicks(train, reader, mapping, items, bad)
    n_items = len(items)
    splits = {name: read_clicks(file, reader, mapping, items, bad) for name, file in _splits(test, valid)}
    for name, clicks in splits.items():
        if not len(session_numbers(clicks)):
            raise SettingsError(f"--{name}: no session with a click behind another")
    with _bar() as report:
        sessions = min(SESSIONS, len(np.unique(learned.sessions)) + len(np.unique(splits["test"].sessions)))
        evaluation = SessionEvaluation(learned, n_items, sessions=sessions, repeats=repeats, report=report)
        figures = _figures(evaluation, splits["test"], is_streaming=is_streaming, seed=seed)
        if valid is not None:
            figures["valid"] = _figures(evaluation, splits["valid"], is_streaming=is_streaming, seed=seed)
    return {
        "train": str(train),
        "test": str(test),
        "mode": "streaming" if is_streaming else "static",
        "repeats": "allowed" if repeats else "excluded",
        "items": n_items,
        "train_clicks": len(learned.rows),
        "bad_rows": bad.count,
        "first_bad_rows": [str(row) for row in bad.first],
        "seed": seed,
        **figures,
        "took_s": round(time.monotonic() - began, 2),
    }


def _splits(test: Path, valid: Path | None) -> list[tuple[str, Path]]:
    return [("test", test)] if valid is None else [("test", test), ("valid", valid)]


def _figures(evaluation: SessionEvaluation, clicks: Clicks, *, is_streaming: bool, seed: int) -> dict[str, Any]:
    sessions, static = session_numbers(clicks), evaluation.static(clicks)
    if not is_streaming:
        return document(static, sessions, seed)
    own, streaming = evaluation.own(clicks), evaluation.streaming(clicks)
    return {
        **document(streaming, sessions, seed),
        **gain("own_session_gain", own.ours, static.ours, sessions, seed),
        **gain("other_sessions_gain", streaming.ours, own.ours, sessions, seed),
        "static": document(static, sessions, seed),
    }


def read_clicks(file: Path, reader: FileReader, mapping: str, items: Vocabulary, bad: BadRows) -> Clicks:
    """Return a file's interactions in time order, adding its items to the vocabulary.

    Raises:
        SettingsError: there is no such mapping, or the file has no interaction with an item.
        BadFile: it cannot be read, or fits no mapping.
    """
    sessions, rows, times = [], [], []
    chosen = chosen_mapping(file, reader, mapping)
    for _, given in read_events(file, reader=reader, on_bad=bad, mapping=chosen):
        event = accept(given, event_id=given.event_id or "", received_at=given.timestamp or 0.0)
        if event_weight(event, WEIGHTS) <= 0.0:
            continue
        for item in event.items:
            # The file's name: its sessions are others than those of the same id elsewhere.
            sessions.append(hash64(f"{file} {event.session_id or user_key(event.user_id, event.visitor_id)}"))
            rows.append(items.code(item.item_id))
            times.append(event.timestamp)
    if not rows:
        raise SettingsError(f"{file}: no interaction with an item")
    return Clicks(np.array(sessions, np.uint64), np.array(rows, np.int32), np.array(times))


@contextmanager
def _bar() -> Iterator[Report]:
    """Show how far each part is."""
    with bar("{task.completed:,} clicks") as shown:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done)

        yield report
