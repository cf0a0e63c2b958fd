"""Runs of kills by seed, which can be broken off and resumed: each run is a line of a file, written when it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

import flows
import headrace
import online
import replay
import schemas
import serving
from headrace.verify.crash import Trial, verify_crash
from headrace.verify.outcome import Outcome

_PACKAGES = (flows, headrace, online, replay, schemas, serving)
_SUFFIXES = (".py", ".sql", ".json")


_decode = msgspec.json.Decoder(Outcome).decode


def verify_runs(
    trial: Trial,
    runs: int,
    out: Path | None,
    *,
    progress: Callable[[int, int, str], None] = lambda seed, done, name: None,
) -> list[Outcome]:
    """Run a trial under `runs` seeds, one after the other, and return what came of each.

    Args:
        trial: of the first seed.
        runs: how many.
        out: the file of the runs; those of the same program and trial that it holds are not run again.
        progress: told the seed, how many kills are done, and of what the last one was.

    Raises:
        SettingsError, Unavailable, Rejected: as `verify_crash`.
        OSError: the file cannot be read or written.
    """
    source = program_digest()
    known = {_key(outcome): outcome for outcome in _kept(out)}
    outcomes = []
    for seed in range(trial.seed, trial.seed + runs):
        one = replace(trial, seed=seed)
        outcome = known.get((source, seed, one.kills, one.targets, one.where))
        if outcome is None:
            outcome = verify_crash(one, progress=partial(progress, seed))
            outcome.source = source
            if out is not None:
                _append(out, outcome)
        outcomes.append(outcome)
    return outcomes


def program_digest() -> str:
    """Return a digest of the program's own files: the same for the same code, wherever it is installed.

    >>> len(program_digest())
    12
    """
    digest = sha256()
    for package in _PACKAGES:
        root = Path(str(package.__file__)).parent
        for path in sorted(path for path in root.rglob("*") if path.suffix in _SUFFIXES):
            digest.update(f"{root.name}/{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _key(outcome: Outcome) -> tuple[str, int, int, tuple[str, ...], str]:
    return outcome.source, outcome.seed, outcome.kills, outcome.targets, outcome.log


def _kept(out: Path | None) -> Iterator[Outcome]:
    if out is None or not out.exists():
        return
    for line in out.read_bytes().splitlines():
        try:
            yield _decode(line)
        except msgspec.MsgspecError:
            continue  # torn by a kill of this very command, or not of this version


def _append(out: Path, outcome: Outcome) -> None:
    with out.open("ab") as file:
        file.write(msgspec.json.encode(outcome) + b"\n")
        file.flush()
        os.fsync(file.fileno())
