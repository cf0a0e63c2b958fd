"""How the demo looks in the terminal."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table

if TYPE_CHECKING:
    from headrace.demo import Board


def render(board: Board) -> RenderableType:
    """Return the screen: traffic, freshness, policies side by side, one user before and after a click, URLs."""
    return Group(_figures(board), _policies(board.arms), _showcase(board.showcase), _urls(board.urls))


def _figures(board: Board) -> Panel:
    took = max(time.monotonic() - board.began, 1e-9)
    table = Table.grid(padding=(0, 3))
    fresh = board.freshness()
    clock = f"{datetime.fromtimestamp(board.now, UTC):%Y-%m-%d %H:%M} UTC" if board.now else "not started"
    table.add_row("traffic", f"{board.events:,} events, {board.events / took:,.0f}/s", "its clock", clock)
    table.add_row(
        "slates",
        f"{board.slates:,}",
        "click -> slate",
        f"p50 {fresh['p50']} ms, p95 {fresh['p95']} ms, n {fresh['n']}" if fresh["n"] else "measuring",
    )
    return Panel(table, title="Headrace demo", subtitle="Ctrl-C ends it", title_align="left")


def _policies(arms: dict[str, dict[str, Any]]) -> RenderableType:
    table = Table(
        title="Policies, each for half of the users" if "personal" in arms else "Policies", title_justify="left"
    )
    table.add_column("policy")
    names = [name for name in next(iter(arms.values()), {}) if name not in ("slots", "clicks")]
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for arm, figures in arms.items():
        table.add_row(arm, *(_figure(name, figures[name]) for name in names))
    return table


def _figure(name: str, value: float) -> str:
    if name in ("ctr", "next_item_hit_rate"):
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _showcase(showcase: dict[str, Any]) -> RenderableType:
    if not showcase:
        return Panel("waiting for enough traffic to show one user before and after a click", title="One user")
    table = Table(title=f"User {showcase['user_id']}", title_justify="left")
    table.add_column("before")
    table.add_column(f"{showcase['after_ms']} ms after clicking on {showcase['clicked']}")
    for before, after in zip(showcase["before"], showcase["after"], strict=False):
        table.add_row(before, after)
    return table


def _urls(urls: dict[str, Any]) -> RenderableType:
    return Panel(
        f"{urls['docs']}   {urls['metrics']}   warehouse {urls['warehouse']} (key in {urls['keys_file']})",
        title="Look at",
        title_align="left",
    )
