"""What the benches measure with: CPU time of processes, quantiles, the machine."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

_PROC = Path("/proc")
_UTIME, _STIME, _PGRP = 11, 12, 2  # fields of /proc/PID/stat counted behind the command's closing parenthesis


def headed(method: str, n: int, document: dict[str, Any]) -> dict[str, Any]:
    """Return a bench's document with what every bench tells beside its figures."""
    return {**document, "method": method, "n": n, "machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def machine() -> dict[str, Any]:
    """Return the machine's cores, Python, processor and load (1 minute), which says whether others worked too."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "cpu": _cpu_model(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        lines = (_PROC / "cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def median(values: Sequence[float], digits: int = 2) -> float:
    """Return the median, rounded.

    >>> median([3.0, 1.0, 2.0])
    2.0
    """
    return round(statistics.median(values), digits)


def spread(values: Sequence[float], digits: int = 2) -> list[float]:
    """Return [least, greatest], rounded.

    >>> spread([3.0, 1.0, 2.0])
    [1.0, 3.0]
    """
    return [round(min(values), digits), round(max(values), digits)]


def quantiles(values_ms: Sequence[float], *percents: int) -> dict[str, float | None]:
    """Return `p<percent>_ms` for each percent; None where nothing was measured.

    >>> quantiles([1.0, 2.0, 3.0], 50)
    {'p50_ms': 2.0}
    """
    if not values_ms:
        return {f"p{percent}_ms": None for percent in percents}
    return {f"p{p}_ms": round(float(np.percentile(values_ms, p)), 2) for p in percents}


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep the garbage collector off, as the state flow does, and collect before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def group_cpu_s(groups: Sequence[int]) -> float | None:
    """Return the CPU seconds (user and system) of all processes of some process groups; None without /proc."""
    if not (_PROC / "self" / "stat").exists():
        return None
    ticks = 0
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it ended in between
            continue
        if int(fields[_PGRP]) in groups:
            ticks += int(fields[_UTIME]) + int(fields[_STIME])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Return the memory a process holds, 0 where there is no such process or no /proc.

    >>> resident_mb(os.getpid()) > 1
    True
    """
    try:
        pages = (_PROC / str(pid) / "statm").read_text(encoding="utf-8").split()[1]
    except OSError:
        return 0.0
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Timed(msgspec.Struct):
    """CPU and wall seconds of this process between two points."""

    cpu_s: float = 0.0
    wall_s: float = 0.0


@contextmanager
def timed() -> Iterator[Timed]:
    """Measure the CPU time of this process, all its threads included, and the wall time."""
    result = Timed(time.process_time(), time.perf_counter())
    yield result
    result.cpu_s, result.wall_s = time.process_time() - result.cpu_s, time.perf_counter() - result.wall_s
