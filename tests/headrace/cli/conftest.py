"""An API over a log and a store in memory, and the command line against it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_app import served

from headrace.cli import main
from online.adapters.exact_index import ExactIndex
from online.adapters.file_artifacts import FileArtifacts
from online.core.item_table import ItemTable
from online.dead_letters import DeadLetters
from online.vectors import read_vectors
from online.world import World
from serving.app import create_app
from serving.worker import Ports, Worker

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def url(switched_log: Any, switched_state: Any, tmp_path: Path) -> Iterator[str]:
    """URL of an API over a log and a store in memory."""
    ports = Ports(
        open_log=lambda: switched_log,
        state=switched_state,
        artifacts=FileArtifacts(tmp_path / "artifacts"),
        dead_letters=DeadLetters(log=switched_log, state=switched_state),
        open_vectors=lambda artifact: read_vectors(artifact, lambda path: ExactIndex(np.zeros((0, 1)), np.zeros(0))),
        spool_directory=tmp_path,
        partitions=2,
        name="api-0",
        member="api-0",
    )
    worker = Worker(ports, World(ItemTable(2)))
    worker.start(ready_within_s=60.0)
    with served(create_app(worker)) as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json against the API; return exit status, document and stderr."""
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)

    def run(*words: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["headrace", *words, "--url", url, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(out) if out else None, err

    return run
