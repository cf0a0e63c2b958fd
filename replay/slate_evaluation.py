"""Recorded slates ranked again: what a user was shown before a click, reordered by what was known just before.

An impression that shows a list and a later click on one of it by the same user in the same session make a case. The
list is ranked by the features and the rankers that serve, from the states as the events before the impression have left
them; then the case is learned, all rows seen, and the events are fed. The order that was displayed is a feature, as a
caller's order would be; examples carry the reference position, so that nothing else stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.example import Example
from online.core.features import COLUMNS, NAMES, REFERENCE_POSITION, Retrieved, Scene, gather
from online.core.profile import Profile
from online.core.rates import Rates
from online.core.record import UserRecord
from online.core.slate_features import rounded
from online.models.learner import Learner, new_learner
from online.models.slate_rows import SlateRows, slate_rows
from replay.local_system import LocalSystem
from replay.ranking_metrics import bootstrap_mean
from replay.recorded import Recorded
from schemas.event import EventIn, user_key
from schemas.slate import RecommendIn

LEARNERS = ("newton-1", "listwise-1", "pairwise-1", "pointwise-1")
"""What ranks: the first is scored, the others are told beside it."""

DISPLAY, LAST = "display_order", "last_interacted"
CHUNK_EVENTS = 500

Floats = NDArray[np.float64]


class _Shown(NamedTuple):
    """A list as it was shown, and its features at that moment."""

    event: EventIn
    items: list[str]
    features: NDArray[np.float32]  # (n, len(FEATURES))
    order_of_touch: Floats  # (n,) utilities of the rule "what was touched last first"


@dataclass(slots=True)
class Scores:
    """Reciprocal ranks, case by case."""

    times: list[float] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    ranks: dict[str, list[float]] = field(default_factory=dict)

    def document(self, *, after: float | None, last: int | None, seed: int) -> dict[str, Any]:
        """Return means with 95 % intervals over sessions, of the cases from `after` on or of the last so many.

        Raises:
            ValueError: no case is left to score.
        """
        kept = [i for i, time in enumerate(self.times) if after is None or time >= after]
        kept = kept if last is None else kept[-last:]
        if not kept:
            msg = "no shown list with a click on it is left to score"
            raise ValueError(msg)
        groups = [self.groups[i] for i in kept]
        ranks = {name: np.array(values)[kept] for name, values in self.ranks.items()}
        ours = ranks[LEARNERS[0]]

        def estimate(name: str, values: Floats) -> dict[str, Any]:
            found = bootstrap_mean(values, groups, seed=seed)
            return {name: round(found.mean, 5), f"{name}_ci": [round(found.low, 5), round(found.high, 5)]}

        return {
            "n": len(kept),
            "sessions": len(set(groups)),
            "first": self.times[kept[0]],
            "learned_before": kept[0],
            **estimate("mrr", ours),
            "baselines": {name: estimate("mrr", ranks[name]) for name in (DISPLAY, LAST)},
            **estimate("gain", ours - ranks[LAST]),
            "learners": {
                name: estimate("mrr", ranks[name]) | estimate("gain", ranks[name] - ranks[LAST]) for name in LEARNERS
            },
            "contributions": {name: estimate("mrr", ours - ranks[f"without {name}"]) for name in COLUMNS},
        }


class SlateEvaluation:
    """Feeds events to a system and ranks each shown list again before its click."""

    def __init__(self, system: LocalSystem) -> None:
        self._system = system
        self._learners: Mapping[str, Learner] = {
            **{name: new_learner(name) for name in LEARNERS},
            **{f"without {group}": new_learner(LEARNERS[0]) for group in COLUMNS},
        }
        self._shown: dict[tuple[str, str | None], _Shown] = {}
        self.scores = Scores(ranks={name: [] for name in (*self._learners, DISPLAY, LAST)})

    def run(self, events: Iterable[Recorded]) -> Iterator[int]:
        """Feed events in their order, yielding now and then how many there were."""
        number = 0
        for number, (_, event) in enumerate(events, start=1):
            self._take(event)
            self._system.post([event])
            if number % CHUNK_EVENTS == 0:
                yield number
        yield number

    def _take(self, event: EventIn) -> None:
        items = event.item_ids
        self._meet(items)
        key = (user_key(event.user_id, event.visitor_id), event.session_id)
        if event.event_type == "impression" and len(items) > 1:
            self._shown[key] = self._view(event, items)
        elif event.event_type == "click" and key in self._shown:
            shown = self._shown[key]
            if len(items) == 1 and items[0] in shown.items:
                del self._shown[key]
                self._score(shown, shown.items.index(items[0]))

    def _meet(self, items: Iterable[str]) -> None:
        """Put items into the catalogue as they are first named: of what else a file says of them, none knows when."""
        for item in items:
            self._system.world.table.row(item)

    def _view(self, event: EventIn, items: list[str]) -> _Shown:
        ask = RecommendIn(
            user_id=event.user_id,
            visitor_id=event.visitor_id,
            surface=event.surface or "home",
            timestamp=event.timestamp,
        )
        record, world, now = self._system.known(ask) or UserRecord(), self._system.world, event.timestamp or 0.0
        profile, rows = Profile.of(world.table, record, now), world.table.rows(items)
        session = profile.touched[profile.touched >= 0]
        prices = np.array([item.price or 0.0 for item in event.items])
        rates, found = world.rates or Rates(world.table), Retrieved.unsourced(rows)
        scene = Scene(world.table, rates, found, profile, session, event.context or {}, listed=prices)
        latest = {touch.item_id: float(place) for place, touch in enumerate(profile.touches, start=1)}
        return _Shown(event, items, rounded(gather(scene)), np.array([latest.get(item, 0.0) for item in items]))

    def _score(self, shown: _Shown, chosen: int) -> None:
        rows = _rows(shown, chosen)
        self.scores.times.append(shown.event.timestamp or 0.0)
        self.scores.groups.append(shown.event.session_id or user_key(shown.event.user_id, shown.event.visitor_id))
        ranks = self.scores.ranks
        ranks[DISPLAY].append(1.0 / (chosen + 1))
        ranks[LAST].append(_reciprocal_rank(shown.order_of_touch, chosen))
        for name, learner in self._learners.items():
            given = _without(rows, name)
            ranks[name].append(_reciprocal_rank(learner.log_odds(given), chosen))
            learner.learn_one(given)


def _rows(shown: _Shown, chosen: int) -> SlateRows:
    clicked = [i == chosen for i in range(len(shown.items))]
    surface = shown.event.surface or "home"
    positions = [REFERENCE_POSITION] * len(clicked)
    return slate_rows(Example("", 0, surface, 0.0, "", list(NAMES), shown.features.tobytes(), positions, clicked))


def _without(rows: SlateRows, name: str) -> SlateRows:
    """Return the rows as a learner `without GROUP` sees them; the same for any other."""
    _, _, group = name.partition("without ")
    if not group:
        return rows
    features = rows.features.copy()
    features[:, COLUMNS[group]] = 0.0
    return rows._replace(features=features)


def _reciprocal_rank(utilities: Floats, chosen: int) -> float:
    """Return 1 / rank of the chosen row; equal utilities keep the order they are given in.

    >>> _reciprocal_rank(np.array([0.0, 2.0, 0.0]), 2)
    0.3333333333333333
    """
    ahead = np.count_nonzero(utilities > utilities[chosen]) + np.count_nonzero(utilities[:chosen] == utilities[chosen])
    return float(1.0 / (1 + ahead))
