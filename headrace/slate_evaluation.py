"""`headrace evaluate slates`: recorded slates ranked again by the same folds, features and rankers, in this process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from headrace.recorded import bar, chosen_mapping, read_summary
from headrace.settings import SettingsError
from online.adapters.chdb_files import ChdbFiles
from online.adapters.exact_index import ExactIndex
from replay.local_system import LocalSystem
from replay.recorded import BadRows, read_events
from replay.slate_evaluation import SlateEvaluation


def evaluate_slates(
    file: Path, *, after: float | None, last: int | None, until: float | None, mapping: str, seed: int
) -> dict[str, Any]:
    """Evaluate a file and return the figures; a bar shows the progress on stderr, where that is a terminal.

    Raises:
        SettingsError: no list with a click on it is left to score, or there is no such mapping.
        BadFile: the file cannot be read, or fits no mapping.
    """
    reader, bad, began = ChdbFiles(), BadRows(), time.monotonic()
    chosen = chosen_mapping(file, reader, mapping)
    evaluation = SlateEvaluation(LocalSystem(index=ExactIndex, seed=seed))
    read = read_events(file, reader=reader, on_bad=bad, mapping=chosen)
    with bar("{task.completed:,} events") as shown:
        task = shown.add_task(f"evaluating {file.name} as {chosen.name}", total=None)
        events = 0
        kept = (one for one in read if until is None or (one.event.timestamp or 0.0) < until)
        for events in evaluation.run(kept):
            shown.update(task, completed=events)
    try:
        figures = evaluation.scores.document(after=after, last=last, seed=seed)
    except ValueError as error:
        raise SettingsError(f"{file}: {error}") from None
    return {
        **read_summary(file, chosen, bad),
        "events": events,
        "until": until,
        "seed": seed,
        **figures,
        "took_s": round(time.monotonic() - began, 2),
    }
