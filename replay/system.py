"""What a replay drives: a recommender that takes items and events and answers requests, here or over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from schemas.event import EventIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn


class Answer(NamedTuple):
    """A slate as a client sees it; `document` is the whole answer where there is one."""

    recommendation_id: str
    item_ids: list[str]
    position: str | None  # of the user's last event reflected in it
    document: dict[str, Any]


class Ranked(NamedTuple):
    """What a recommender would show without exploration."""

    item_ids: Sequence[str]  # best first
    candidates: Sequence[str]  # all that its retrievers found
    rung: str


class System(Protocol):
    """A running recommender."""

    def put_items(self, items: Sequence[ItemIn]) -> None:
        """Create or replace catalogue items."""
        ...

    def post(self, events: Sequence[EventIn]) -> None:
        """Keep events."""
        ...

    def recommend(self, ask: RecommendIn) -> Answer:
        """Return a slate."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
