"""`headrace demo`: the whole system in a temporary directory, a shop's traffic, and a live summary in the terminal."""

from __future__ import annotations

import itertools
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from headrace.demo_view import render
from headrace.probe import require_free_port
from headrace.recorded import chosen_mapping
from headrace.settings import own_settings
from headrace.supervisor import StopFlag, free_port
from headrace.system import System, plan
from headrace.up import started, where
from online.adapters.chdb_files import BadFile, ChdbFiles
from online.ports import Unavailable
from replay.closed_loop import Loop, run
from replay.feed import FeedConfig, Progress, feed
from replay.http_system import HttpSystem, Rejected
from replay.recorded import BadRows, Recorded, read_events, read_items
from replay.shop import Shop, ShopConfig
from schemas.event import EventIn
from schemas.slate import RecommendIn

SHOP_RATE = 0.05  # visits per second of shop time
SHOP_BEFORE_S = 30 * 86_400.0  # the shop's clock starts so long ago, and may not overtake ours
PROBE_EVERY_S = 0.5
SHOWCASE_AFTER_S = 8.0
SHOWCASE_EVERY_S = 15.0
PROBE_PATIENCE_S = 5.0
CLICK_WINDOW_S = 600.0  # of shop time: the demo learns within seconds


@dataclass
class Board:
    """What the demo shows; written by its threads, read by the screen."""

    began: float = field(default_factory=time.monotonic)
    now: float = 0.0  # time of the traffic, epoch seconds
    events: int = 0
    slates: int = 0
    visits: int = 0
    arms: dict[str, dict[str, Any]] = field(default_factory=dict)
    freshness_ms: list[float] = field(default_factory=list)
    showcase: dict[str, Any] = field(default_factory=dict)
    urls: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def document(self) -> dict[str, Any]:
        """Return the summary."""
        took = time.monotonic() - self.began
        return {
            "took_s": round(took, 1),
            "events": self.events,
            "events_per_s": round(self.events / took, 1),
            "slates": self.slates,
            "visits": self.visits,
            "click_to_slate_ms": self.freshness(),
            "policies": self.arms,
            "one_user": self.showcase,
            "urls": self.urls,
        }

    def freshness(self) -> dict[str, Any]:
        """Return how long acknowledged clicks took to be in their user's slate, in milliseconds."""
        waits = sorted(self.freshness_ms)
        if not waits:
            return {"n": 0}
        return {
            "n": len(waits),
            "p50": round(statistics.median(waits), 1),
            "p95": round(waits[min(len(waits) - 1, int(0.95 * len(waits)))], 1),
            "max": round(waits[-1], 1),
        }


def run_demo(
    *,
    events: Path | None,
    mapping: str,
    seconds: float | None,
    seed: int,
    data_dir: Path | None,
    port: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Run until a signal, the time limit, or the end of the recorded events; return the summary.

    Raises:
        SettingsError, BadFile: the port, the format or the file will not do; nothing was started.
        Rejected: the system did not take the traffic.
    """
    logging.basicConfig(level=logging.ERROR, format="headrace: %(message)s")
    drive = _drive_shop(seed) if events is None else _drive_file(events, mapping)
    console = Console(stderr=True)
    with _system(data_dir, port, console, quiet) as (system, stop):
        board = Board(urls=where(system))
        traffic = _Traffic(system.api_url, board, stop, drive)
        prober = _Prober(system.api_url, board, stop)
        deadline = None if seconds is None else time.monotonic() + seconds
        traffic.start()
        prober.start()
        screen = (
            nullcontext()
            if quiet
            else Live(console=console, refresh_per_second=4, get_renderable=lambda: render(board))
        )
        with screen:
            while not (stop.is_set() or board.error or not traffic.is_alive() or _is_over(deadline)):
                time.sleep(0.1)
        stop.set()
        traffic.join()
        prober.join()
        document = board.document()
    if board.error:
        raise Rejected(board.error)
    return document


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


@contextmanager
def _system(
    data_dir: Path | None, port: int | None, console: Console, quiet: bool
) -> Iterator[tuple[System, StopFlag]]:
    with tempfile.TemporaryDirectory(prefix="headrace-demo-") as temporary:
        settings = own_settings(data_dir or Path(temporary) / "data", port or free_port(), CLICK_WINDOW_S)
        require_free_port(settings.host, settings.port)
        system = plan(settings)
        if not quiet:
            console.print("starting the whole system (the first start compiles the kernels, some 20 s)")
        with started(system, quiet=quiet) as (_, stop):
            yield system, stop


Drive = Callable[[HttpSystem, Board, StopFlag], None]


def _drive_shop(seed: int) -> Drive:
    def drive(system: HttpSystem, board: Board, stop: StopFlag) -> None:
        shop = Shop(ShopConfig(seed=seed, start=time.time() - SHOP_BEFORE_S))
        for loop in run(system, shop, rate=SHOP_RATE, until=time.time()):
            _note(board, loop)
            if stop.is_set():
                return

    return drive


def _note(board: Board, loop: Loop) -> None:
    board.now, board.events, board.visits = loop.now, loop.events, loop.visits
    board.slates = sum(tally.slates for tally in loop.tallies.values())
    board.arms = {arm: tally.document() for arm, tally in loop.tallies.items()}


def _drive_file(file: Path, mapping_name: str) -> Drive:
    reader, bad = ChdbFiles(), BadRows()
    mapping = chosen_mapping(file, reader, mapping_name)

    def drive(system: HttpSystem, board: Board, stop: StopFlag) -> None:
        def watched() -> Iterator[Recorded]:
            for row in read_events(file, reader=reader, on_bad=bad, mapping=mapping):
                board.now = row.event.timestamp or board.now
                if stop.is_set():
                    return
                yield row

        items = read_items(file, reader=reader, on_bad=bad, mapping=mapping)
        for progress in feed(system, watched(), FeedConfig(), items=items):
            board.events, board.slates = progress.events, progress.slates
            board.arms = _scores(progress)

    return drive


def _scores(progress: Progress) -> dict[str, dict[str, Any]]:
    return {
        policy: {
            "slates": len(scores.hits),
            "next_item_hit_rate": round(statistics.fmean(scores.hits), 4),
            "next_item_mrr": round(statistics.fmean(scores.reciprocal_ranks), 4),
        }
        for policy, scores in progress.scores.items()
    }


class _Traffic(threading.Thread):
    def __init__(self, url: str, board: Board, stop: StopFlag, drive: Drive) -> None:
        super().__init__(name="traffic", daemon=True)
        self._system, self._board, self._stop_flag, self._drive = HttpSystem(url), board, stop, drive

    def run(self) -> None:
        try:
            self._drive(self._system, self._board, self._stop_flag)
        except (Rejected, Unavailable, BadFile) as error:
            if not self._stop_flag.is_set():
                self._board.error = str(error)
        finally:
            self._system.close()


class _Prober(threading.Thread):
    """Clicks as users of its own and watches when the click is in their slate."""

    def __init__(self, url: str, board: Board, stop: StopFlag) -> None:
        super().__init__(name="prober", daemon=True)
        self._system, self._board, self._stop_flag = HttpSystem(url), board, stop
        self._numbers = itertools.count(1)

    def run(self) -> None:
        try:
            self._probe_on()
        except (Rejected, Unavailable) as error:
            if not self._stop_flag.is_set():
                self._board.error = str(error)
        finally:
            self._system.close()

    def _probe_on(self) -> None:
        shown = time.monotonic() + SHOWCASE_AFTER_S - SHOWCASE_EVERY_S
        while not self._stop_flag.is_set():
            is_showcase = time.monotonic() - shown > SHOWCASE_EVERY_S
            if self._probe(is_showcase) and is_showcase:
                shown = time.monotonic()
            time.sleep(PROBE_EVERY_S)

    def _probe(self, is_showcase: bool) -> bool:
        """Ask, click on the third item, ask until the slate reflects it; say whether there was a slate to click on."""
        user = f"demo-{next(self._numbers)}"
        at = self._board.now
        before = self._ask(user, at)
        if at == 0.0 or len(before["items"]) < 3:
            return False
        clicked = before["items"][2]["item_id"]
        self._system.post([EventIn(event_type="click", user_id=user, item_id=clicked, timestamp=at, surface="home")])
        began = time.perf_counter()
        after = before
        while after["state_as_of"]["position"] is None:
            after = self._ask(user, at + 1.0)
            if time.perf_counter() - began > PROBE_PATIENCE_S:
                return False
        waited = (time.perf_counter() - began) * 1000
        self._board.freshness_ms.append(waited)
        if is_showcase:
            self._board.showcase = {
                "user_id": user,
                "before": [_line(item, clicked, "") for item in before["items"]],
                "clicked": _title(before["items"][2]),
                "after_ms": round(waited, 1),
                "after": [_line(item, clicked, _title(before["items"][2])) for item in after["items"]],
            }
        return True

    def _ask(self, user: str, at: float) -> dict[str, Any]:
        ask = RecommendIn(user_id=user, n=6, timestamp=at, return_properties=["title", "categories"])
        return self._system.recommend(ask).document


def _title(item: dict[str, Any]) -> str:
    return str(item.get("properties", {}).get("title", item["item_id"]))


def _line(item: dict[str, Any], clicked: str, title: str) -> str:
    reason = item["reason"]
    text = reason["text"].replace(clicked, title) if reason["item_id"] == clicked else reason["text"]
    return f"{_title(item)}: {text}"
