from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import serving.spool
from serving.spool import Segment, Spool, Spooled, SpoolFull, orphans

CAP = 1_000_000
OPENED: list[Spool | Segment] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def message(number: int, size: int = 20) -> Spooled:
    return "events", number % 3, b"%d-" % number + b"x" * size


def filled(directory: Path, numbers: range, *, cap_bytes: int = CAP) -> Spool:
    spool = Spool(directory, "api-0", cap_bytes=cap_bytes)
    OPENED.append(spool)
    for number in numbers:
        spool.append([message(number)])
    return spool


def orphaned(directory: Path) -> list[Spooled]:
    found: list[Spooled] = []
    for segment in orphans(directory):
        OPENED.append(segment)
        found += segment.peek(10_000)[0]
    return found


def test_messages_come_back_in_the_order_they_were_kept(tmp_path: Path) -> None:
    spool = filled(tmp_path, range(10))

    first, end = spool.peek(4)
    spool.release(end)
    second, _ = spool.peek(100)

    assert first + second == [message(n) for n in range(10)]


def test_what_is_not_released_is_given_again(tmp_path: Path) -> None:
    spool = filled(tmp_path, range(5))

    assert spool.peek(2) == spool.peek(2)
    assert spool.pending == spool.appended > 0


def test_a_spool_with_nothing_left_takes_no_space_and_leaves_no_file(tmp_path: Path) -> None:
    spool = filled(tmp_path, range(5))

    spool.release(spool.peek(100)[1])

    assert spool.pending == 0
    assert spool.path.stat().st_size == 0
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_spool_takes_none_of_a_batch_and_takes_it_once_there_is_room(tmp_path: Path) -> None:
    spool = filled(tmp_path, range(10), cap_bytes=600)
    before = spool.pending
    batch = [message(n) for n in range(10, 20)]

    with pytest.raises(SpoolFull, match="at most 600"):
        spool.append(batch)
    assert spool.pending == before
    spool.release(spool.peek(100)[1])
    spool.append(batch)

    assert spool.peek(100)[0] == batch


def test_what_was_shipped_counts_neither_for_the_cap_nor_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving.spool, "SEGMENT_BYTES", 2000)
    spool = filled(tmp_path, range(1), cap_bytes=5000)

    shipped: list[Spooled] = []
    for number in range(1, 1000):  # the newest one always waits, so that the spool is never empty
        spool.append([message(number)])
        messages, end = spool.peek(1)
        shipped += messages
        spool.release(end)

    assert shipped == [message(n) for n in range(999)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5000


def test_a_chunk_to_ship_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.spool, "CHUNK_BYTES", 250)
    spool = filled(tmp_path, range(100))

    assert 1 < len(spool.peek(100)[0]) < 10


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 30])
def test_a_tail_torn_by_a_kill_is_dropped_and_the_frames_before_it_are_not(tmp_path: Path, cut: int) -> None:
    spool = filled(tmp_path, range(3))
    path, size = spool.path, spool.appended
    spool.close()
    frame = size // 3
    path.write_bytes(path.read_bytes()[: 2 * frame + cut])

    assert orphaned(tmp_path) == [message(0), message(1)]


def test_a_frame_with_a_flipped_bit_ends_the_spool(tmp_path: Path) -> None:
    spool = filled(tmp_path, range(3))
    path = spool.path
    spool.close()
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))

    assert orphaned(tmp_path) == [message(0), message(1)]


def test_a_write_the_disk_cuts_short_leaves_the_frames_before_it_sound(tmp_path: Path) -> None:
    spool = filled(tmp_path, range(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.appended + 10, hard))
    try:
        with pytest.raises(OSError, match="space"):
            spool.append([message(3)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.append([message(4)])

    assert spool.peek(100)[0] == [message(n) for n in (0, 1, 2, 4)]


def test_the_spool_of_a_living_worker_is_no_orphan(tmp_path: Path) -> None:
    spool = filled(tmp_path, range(3))

    assert orphaned(tmp_path) == []
    spool.close()
    assert orphaned(tmp_path) == [message(0), message(1), message(2)]


def test_an_orphan_has_one_finder(tmp_path: Path) -> None:
    filled(tmp_path, range(3)).close()

    OPENED.extend(orphans(tmp_path))

    assert [segment.peek(100)[0] for segment in OPENED[1:]] == [[message(n) for n in range(3)]]
    assert list(orphans(tmp_path)) == []


def test_a_shipped_orphan_is_removed(tmp_path: Path) -> None:
    filled(tmp_path, range(3)).close()

    (segment,) = orphans(tmp_path)
    segment.release(segment.peek(100)[1])
    segment.close()

    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_follows_under_the_same_name_keeps_apart_from_the_old_spool(tmp_path: Path) -> None:
    filled(tmp_path, range(3)).close()
    (adopted,) = orphans(tmp_path)
    OPENED.append(adopted)

    spool = filled(tmp_path, range(5, 6))

    assert spool.peek(100)[0] == [message(5)]
    assert adopted.peek(100)[0] == [message(n) for n in range(3)]


def test_a_killed_worker_leaves_all_its_segments_in_order(tmp_path: Path) -> None:
    program = f"""
import os, signal, pathlib, serving.spool as spool
spool.SEGMENT_BYTES = 100
kept = spool.Spool(pathlib.Path({str(tmp_path)!r}), "api-0", cap_bytes=10**6)
for n in range(40):
    kept.append([("events", n % 3, b"%d-" % n + b"x" * 20)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)

    assert len(list(tmp_path.iterdir())) > 5
    assert orphaned(tmp_path) == [message(n) for n in range(40)]


def test_a_disk_that_is_full_takes_none_of_a_batch_and_takes_it_once_there_is_space(tmp_path: Path) -> None:
    program = """
import os, pathlib, sys
from serving.spool import Spool
place = pathlib.Path(sys.argv[1])
ballast, messages = place / "ballast", [("events", 0, b"x" * 40_000)]
ballast.write_bytes(b"x" * 100_000)
kept, spool = 0, Spool(place, "api-0", cap_bytes=10**9)
try:
    while True:
        spool.append(messages).sync()
        kept += 1
except OSError as error:
    print(error.strerror)
ballast.unlink()
spool.append(messages).sync()
assert len(spool.peek(100)[0]) == kept + 1
"""
    mount = 'mount -t tmpfs -o size=300k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, "true"], check=False).returncode:
        pytest.skip("mounting a small tmpfs needs unprivileged user namespaces")

    argv = [*own_mounts, mount, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "No space left on device\n"
