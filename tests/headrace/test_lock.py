from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from headrace.lock import LOCK_FILE, AlreadyRunning, holder, take_lock


def test_a_lock_whose_owner_lives_is_refused_and_free_again_once_closed(tmp_path: Path) -> None:
    held = take_lock(tmp_path)
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        take_lock(tmp_path)
    os.close(held)

    os.close(take_lock(tmp_path))


def test_a_file_left_by_a_dead_owner_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("999999999\n")
    os.close(take_lock(tmp_path))

    assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_it_waits_while_only_the_guard_of_a_dead_owner_still_holds_it(tmp_path: Path) -> None:
    held = take_lock(tmp_path)
    (tmp_path / LOCK_FILE).write_text("999999999\n")
    with subprocess.Popen(["sleep", "600"], pass_fds=(held,)) as guard:
        os.close(held)
        threading.Timer(0.3, guard.kill).start()
        start = time.monotonic()
        os.close(take_lock(tmp_path))

    assert time.monotonic() - start >= 0.25


def test_the_holder_is_named_while_it_holds(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    held = take_lock(tmp_path)
    assert holder(tmp_path) == str(os.getpid())
    os.close(held)
    assert holder(tmp_path) is None
