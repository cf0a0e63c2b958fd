"""The guard: nothing survives the supervisor, not even after `kill -9`.

Every service runs in its own process group, and a guard (a shell that does nothing but read a pipe) knows these groups.
When the supervisor dies the kernel closes the pipe, the guard reads its end and ends the groups with everything in
them, grandchildren included. A service is registered before it may run: its launcher waits for a line that is sent
after the guard has been told. PR_SET_PDEATHSIG would need Linux, would miss grandchildren, and fires when the *thread*
that forked ends.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

# Holds back the program until its process group is registered; ends itself if that never happens.
_LAUNCHER = 'read -r go && exec "$@"'

_GUARD = """
groups=
while read -r change group; do
  kept=
  for g in $groups; do [ "$g" = "$group" ] || kept="$kept $g"; done
  groups=$kept
  [ "$change" = - ] || groups="$groups $group"
done
send() { found=; for g in $groups; do kill -s "$1" -- "-$g" 2>/dev/null && found=1; done; }
for signal in TERM KILL; do
  send "$signal"
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    send 0
    [ "$found" ] || exit 0  # only then is the lock free, which this shell holds
    sleep 0.1
  done
done
"""


class Guard:
    """The shell that ends all registered process groups when this process ends.

    It also holds the data directory's lock, so that no next supervisor starts beside services not yet gone.
    """

    def __init__(self, lock_fd: int) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "headrace-guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C or a kill of our group must not reach it
            pass_fds=(lock_fd,),
            bufsize=0,
        )

    def launch(self, argv: Sequence[str], env: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program in a process group of its own, registered before the program itself may run.

        `env` is its whole environment; `output` takes stdout and stderr.

        Raises:
            OSError: no memory or process for it.
        """
        process = subprocess.Popen(
            ["/bin/sh", "-c", _LAUNCHER, "sh", *argv],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            process_group=0,
        )
        self.add(process.pid)
        _let_go(process)
        return process

    def add(self, group: int) -> None:
        """Register a process group that already runs."""
        self._tell(f"+ {group}\n")

    def remove(self, group: int) -> None:
        """Forget a process group that has ended; its number may be given to others."""
        self._tell(f"- {group}\n")

    def is_alive(self) -> bool:
        """Return whether the shell still reads; one that was killed guards nothing."""
        return self._process.poll() is None

    def close(self) -> None:
        """End every group still registered, and the guard."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
        except BrokenPipeError:
            return  # the supervisor starts another guard and registers everything again


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """Let the launcher go on; if it is gone already, its exit status tells."""
    assert process.stdin is not None
    try:
        with process.stdin as stdin:
            stdin.write(b"\n")
    except BrokenPipeError:
        return
