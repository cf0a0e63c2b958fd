"""`headrace evaluate users`: recorded events through the same folds and the same ranking, in this process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from headrace.recorded import bar, chosen_mapping, read_summary
from headrace.settings import SettingsError
from online.adapters.chdb_files import ChdbFiles
from online.adapters.exact_index import ExactIndex
from replay.local_system import LocalSystem
from replay.recorded import BadRows, read_events, read_items
from replay.user_evaluation import UserEvaluation, UserEvaluationConfig


def evaluate_users(file: Path, config: UserEvaluationConfig, *, mapping: str, seed: int) -> dict[str, Any]:
    """Evaluate a file and return the figures; a bar shows the progress on stderr, where that is a terminal.

    Raises:
        SettingsError: nothing in the file lies at or behind the cut, or there is no such mapping.
        BadFile: the file cannot be read, or fits no mapping.
    """
    reader, bad, began = ChdbFiles(), BadRows(), time.monotonic()
    chosen = chosen_mapping(file, reader, mapping)
    evaluation = UserEvaluation(
        LocalSystem(index=ExactIndex, seed=seed),
        read_items(file, reader=reader, on_bad=bad, mapping=chosen),
        config,
    )
    with bar("{task.completed:,} events") as shown:
        task = shown.add_task(f"evaluating {file.name} as {chosen.name}", total=None)
        events = 0
        for events in evaluation.run(read_events(file, reader=reader, on_bad=bad, mapping=chosen)):
            shown.update(task, completed=events)
    if not evaluation.is_scored:
        raise SettingsError(f"--cut: no event of {file} at or behind {config.cut:.0f} could be scored")
    return {
        **read_summary(file, chosen, bad),
        "events": events,
        "cut": config.cut,
        "until": config.until,
        "ahead": config.ahead,
        "repeats": "allowed" if config.repeats else "excluded",
        "seed": seed,
        **evaluation.document(seed),
        "took_s": round(time.monotonic() - began, 2),
    }
