from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.guard import Guard
from headrace.lock import take_lock


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    lock = take_lock(tmp_path)
    guard = Guard(lock)
    yield guard
    guard.close()
    os.close(lock)


def launch(guard: Guard, output: Path, script: str) -> subprocess.Popen[bytes]:
    with output.open("ab") as file:
        return guard.launch(["/bin/sh", "-c", script], {"COLOUR": "green"}, file)


def test_a_program_gets_the_environment_and_its_output_goes_to_the_file(guard: Guard, tmp_path: Path) -> None:
    output = tmp_path / "output"
    process = launch(guard, output, "echo $COLOUR; echo too >&2")

    assert process.wait(10) == 0
    assert output.read_text() == "green\ntoo\n"


def test_closing_ends_what_is_registered_first_by_term_then_by_kill(guard: Guard, tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = "trap '' TERM; echo stubborn; while :; do sleep 600; done"
    stubborn, meek = launch(guard, output, script), launch(guard, tmp_path / "other", "exec sleep 600")
    while not output.read_text():
        assert stubborn.poll() is None
    guard.close()

    assert meek.wait(1) == -signal.SIGTERM
    assert stubborn.wait(1) == -signal.SIGKILL


def test_closing_leaves_alone_what_was_removed(guard: Guard, tmp_path: Path) -> None:
    process = launch(guard, tmp_path / "output", "exec sleep 600")
    guard.remove(process.pid)
    guard.close()

    assert process.poll() is None
    process.kill()
    process.wait()
