"""`headrace replay`: feed recorded events to a system here or over HTTP, with slates asked for on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from headrace.settings import SettingsError
from online.adapters.chdb_files import ChdbFiles
from online.adapters.exact_index import ExactIndex
from replay.feed import FeedConfig, feed
from replay.http_system import HttpSystem
from replay.local_system import LocalSystem
from replay.mapping import AUTO, EventMapping, FileReader, find_mapping, mapping_named
from replay.recorded import BadRows, read_events, read_items
from replay.system import System


def open_system(url: str | None, *, api_key: str, seed: int) -> System:
    """Return the system at a URL, or a new one in this process."""
    return HttpSystem(url, api_key=api_key) if url else LocalSystem(index=ExactIndex, seed=seed)


def chosen_mapping(file: Path, reader: FileReader, name: str) -> EventMapping:
    """Return the mapping of that name, or the one that fits the file.

    Raises:
        SettingsError: there is no such mapping.
        BadFile: the file cannot be read, or fits no mapping.
    """
    if name != AUTO:
        try:
            mapping_named(name)
        except KeyError as error:
            raise SettingsError(f"--format: {error.args[0]}") from None
    return find_mapping(file, reader, name)


@contextmanager
def bar(told: str, *, quiet: bool = False) -> Iterator[Progress]:
    """Give a progress bar on stderr, where that is a terminal; `told` is rich's markup of what stands behind it."""
    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn(told), TimeElapsedColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        yield progress


def read_summary(file: Path, mapping: EventMapping, bad: BadRows) -> dict[str, Any]:
    """Return what every summary of a recorded file says of it."""
    return {
        "file": str(file),
        "format": mapping.name,
        "bad_rows": bad.count,
        "first_bad_rows": [str(row) for row in bad.first],
    }


def replay_file(
    file: Path, system: System, config: FeedConfig, *, mapping: str, limit: int | None, seed: int, quiet: bool
) -> dict[str, Any]:
    """Feed a file and return the summary; a bar shows the progress on stderr, where that is a terminal."""
    reader, bad = ChdbFiles(), BadRows()
    chosen = chosen_mapping(file, reader, mapping)
    began = time.monotonic()
    told = "{task.completed:,} events, {task.fields[rate]:,.0f}/s, {task.fields[slates]:,} slates"
    with bar(told, quiet=quiet) as shown:
        task = shown.add_task(f"replaying {file.name} as {chosen.name}", total=limit, rate=0.0, slates=0)
        events = read_events(file, reader=reader, on_bad=bad, mapping=chosen, limit=limit)
        items = read_items(file, reader=reader, on_bad=bad, mapping=chosen)
        for progress in feed(system, events, config, items=items):
            took = time.monotonic() - began
            shown.update(task, completed=progress.events, rate=progress.events / took, slates=progress.slates)
    took = time.monotonic() - began
    return {
        **read_summary(file, chosen, bad),
        "events": progress.events,
        "items": progress.items,
        "took_s": round(took, 2),
        "events_per_s": round(progress.events / took, 1),
        "slates": progress.slates,
        "slate_ms": round(1000 * progress.slate_s / progress.slates, 3) if progress.slates else None,
        "policies": {policy: scores.document(seed) for policy, scores in progress.scores.items()},
    }
