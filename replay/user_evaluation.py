"""How soon users and items that nobody knew are served well: ranked lists before each event, scored by what came next.

Events are fed in their order; lists are asked for before an event is learned, and greedy: the order of utility, no
exploration. An item enters the catalogue right after the event that first names it, so no list can hold it before.

New users are those whose first event lies at or behind the cut. After their k-th event on items (impressions apart),
just before the next, a list is kept; its targets are the next `ahead` distinct items of the user's positive events
(`WEIGHTS`; a rating counts by its distance from 3, so one of 3 or less is none). New items are those that an event at
or behind the cut first names; each later positive event on one, by anybody, is a case with that one target, grouped by
how many events the item had before.

With `repeats` excluded, items that the user has touched are neither shown nor targets; allowed, everything may be shown
and be a target, except the item the user has touched last, which no list holds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any, Protocol

from online.core.policy_document import DEFAULT_POLICY, POPULARITY_POLICY
from online.core.step import event_weight
from replay.ranking_metrics import bootstrap_mean, hit, ndcg
from replay.recorded import Recorded
from replay.system import Ranked
from schemas.event import WEIGHTS, EventIn, accept, user_key
from schemas.item import ItemIn
from schemas.slate import RecommendIn

BASELINES = ("popularity", "popularity_all_time")
"""The served popularity policy, and plain sums of event weights since the first event."""

Age = tuple[int, int | None]
"""How many events an item has had: from, to."""

AGES: tuple[Age, ...] = ((1, 1), (2, 3), (4, 10), (11, None))
CHUNK_EVENTS = 2000

Lists = Mapping[str, Sequence[str]]
"""Baseline -> its list, best first."""


class RankingSystem(Protocol):
    """A recommender that can be asked for its order without exploration."""

    def put_items(self, items: Sequence[ItemIn]) -> None:
        """Create or replace catalogue items."""
        ...

    def post(self, events: Sequence[EventIn]) -> None:
        """Keep events."""
        ...

    def rank(self, ask: RecommendIn) -> Ranked:
        """Return the best candidates by utility; learn nothing from it."""
        ...


@dataclass(frozen=True, slots=True)
class UserEvaluationConfig:
    """The protocol: times are epoch seconds, `n` the length of the lists."""

    cut: float
    until: float | None = None
    after: tuple[int, ...] = (0, 1, 2, 3, 5, 10)
    ahead: int = 10
    n: int = 20
    repeats: bool = False


@dataclass(slots=True)
class _Case:
    after: int
    ours: Ranked
    baselines: Lists
    touched: Collection[str]
    targets: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _NewUser:
    events: int = 0
    open: list[_Case] = field(default_factory=list)


@dataclass(slots=True)
class Scores:
    """Metrics of ours and of the baselines, case by case; users group them for the intervals."""

    n: int
    users: list[str] = field(default_factory=list)
    ndcg: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    hits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    retrieved: list[float] = field(default_factory=list)
    rungs: Counter[str] = field(default_factory=Counter)

    def add(self, user: str, ours: Ranked, baselines: Lists, targets: Mapping[str, float]) -> None:
        """Score the lists of one case."""
        self.users.append(user)
        for name, ranked in {"": ours.item_ids, **baselines}.items():
            self.ndcg[name].append(ndcg(ranked, targets, self.n))
            self.hits[name].append(hit(ranked, targets, self.n))
        self.retrieved.append(len(targets.keys() & set(ours.candidates)) / len(targets))
        self.rungs[ours.rung] += 1

    def document(self, seed: int) -> dict[str, Any]:
        """Return figures with 95 % intervals; each baseline has the gain of ours over it, case by case."""
        if not self.users:
            return {"n": 0}
        return {
            "n": len(self.users),
            "users": len(set(self.users)),
            **self._metrics("", seed),
            "targets_retrieved": round(sum(self.retrieved) / len(self.retrieved), 5),
            "rungs": dict(self.rungs.most_common()),
            "baselines": {name: self._metrics(name, seed) | self._gain(name, seed) for name in BASELINES},
        }

    def _metrics(self, name: str, seed: int) -> dict[str, Any]:
        return {
            **self._estimate(f"ndcg@{self.n}", self.ndcg[name], seed),
            **self._estimate(f"hr@{self.n}", self.hits[name], seed),
        }

    def _gain(self, name: str, seed: int) -> dict[str, Any]:
        return self._estimate("gain", [a - b for a, b in zip(self.ndcg[""], self.ndcg[name], strict=True)], seed)

    def _estimate(self, name: str, values: Sequence[float], seed: int) -> dict[str, Any]:
        estimate = bootstrap_mean(values, self.users, seed=seed)
        return {name: round(estimate.mean, 5), f"{name}_ci": [round(estimate.low, 5), round(estimate.high, 5)]}


class UserEvaluation:
    """Feeds events to a system and keeps the score; `run` yields the number of events so far."""

    def __init__(self, system: RankingSystem, items: Iterable[ItemIn], config: UserEvaluationConfig) -> None:
        self._system, self._config = system, config
        self._documents = {item.item_id: item for item in items}
        self._touched: defaultdict[str, set[str]] = defaultdict(set)  # items by user
        self._new_users: dict[str, _NewUser] = {}
        self._item_events: Counter[str] = Counter()
        self._new_items: set[str] = set()
        self._weights: defaultdict[str, float] = defaultdict(float)  # by item, of positive events
        self._pending: list[EventIn] = []
        self.by_after = {k: Scores(config.n) for k in config.after}
        self.by_age = {age: Scores(config.n) for age in AGES}
        self.new_item_cases = Scores(config.n)

    def run(self, events: Iterable[Recorded], every: int = CHUNK_EVENTS) -> Iterator[int]:
        """Evaluate the events, which come in their order; yield now and then."""
        taken = 0
        for _, event in events:
            if self._config.until is not None and _time(event) >= self._config.until:
                break
            self._take(event)
            taken += 1
            if taken % every == 0:
                yield taken
        for key, user in self._new_users.items():
            for case in user.open:
                self._score(key, case)
            user.open.clear()
        yield taken

    @property
    def is_scored(self) -> bool:
        """Say whether there was any case."""
        return any(scores.users for scores in (*self.by_after.values(), self.new_item_cases))

    def document(self, seed: int) -> dict[str, Any]:
        """Return the figures."""
        return {
            "new_users": len(self._new_users),
            "users": {str(k): scores.document(seed) for k, scores in self.by_after.items()},
            "new_items": len(self._new_items),
            "items": {
                "all": self.new_item_cases.document(seed),
                **{_range(age): scores.document(seed) for age, scores in self.by_age.items()},
            },
        }

    def _take(self, event: EventIn) -> None:
        key, items, is_after_cut = user_key(event.user_id, event.visitor_id), event.item_ids, self._is_after(event)
        if is_after_cut and key not in self._touched:
            self._new_users[key] = _NewUser()
        weight, counts = _weight(event), event.event_type != "impression"
        if is_after_cut and items and counts:
            self._ask(key, event, items, is_positive=weight > 0.0)
        self._touched[key].update(items if counts else ())
        for item in items:
            if item not in self._item_events:
                self._describe(item, event)
            self._item_events[item] += 1
            self._weights[item] += max(weight, 0.0)
        self._pending.append(event)
        if len(self._pending) >= CHUNK_EVENTS:
            self._flush()

    def _is_after(self, event: EventIn) -> bool:
        return _time(event) >= self._config.cut

    def _ask(self, key: str, event: EventIn, items: Sequence[str], *, is_positive: bool) -> None:
        """Keep lists where the protocol wants them, and note the event's items as targets of those kept before."""
        new, touched = self._new_users.get(key), self._touched[key]
        is_case = new is not None and new.events in self.by_after
        targets = [i for i in items if i in self._new_items and self._may_be_target(i, touched)] if is_positive else []
        if is_case or targets:
            ours, baselines = self._lists(event, touched)
            for item in targets:
                for scores in (self.new_item_cases, self.by_age[_age(self._item_events[item])]):
                    scores.add(key, ours, baselines, {item: 1.0})
        if new is None:
            return
        if is_case:
            new.open.append(_Case(new.events, ours, baselines, frozenset(touched)))
        if is_positive:
            new.open = [case for case in new.open if self._is_open_after(key, case, items)]
        new.events += 1

    def _may_be_target(self, item: str, touched: Collection[str]) -> bool:
        return self._config.repeats or item not in touched

    def _is_open_after(self, key: str, case: _Case, items: Sequence[str]) -> bool:
        """Give a case the targets of another event; say whether it takes more. One that is full is scored."""
        for item in items:
            if len(case.targets) < self._config.ahead and self._may_be_target(item, case.touched):
                case.targets[item] = 1.0
        if len(case.targets) < self._config.ahead:
            return True
        self._score(key, case)
        return False

    def _score(self, key: str, case: _Case) -> None:
        if case.targets:
            self.by_after[case.after].add(key, case.ours, case.baselines, case.targets)

    def _lists(self, event: EventIn, touched: Collection[str]) -> tuple[Ranked, Lists]:
        self._flush()
        repeats, n = self._config.repeats, self._config.n
        ours, popular = (
            self._system.rank(
                RecommendIn(
                    user_id=event.user_id,
                    visitor_id=event.visitor_id,
                    session_id=event.session_id,
                    n=n,
                    context=event.context,
                    exclude_seen=not repeats,
                    exclude_purchased=not repeats,
                    policy=policy,
                    timestamp=event.timestamp,
                )
            )
            for policy in (DEFAULT_POLICY, POPULARITY_POLICY)
        )
        may_be_shown = (i for i in self._weights if self._may_be_target(i, touched))
        all_time = nlargest(n, may_be_shown, key=self._weights.__getitem__)
        return ours, dict(zip(BASELINES, (popular.item_ids, all_time), strict=True))

    def _describe(self, item_id: str, event: EventIn) -> None:
        """Put an item into the catalogue that an event names first."""
        self._flush()
        item = self._documents.get(item_id) or ItemIn(item_id=item_id)
        at = event.timestamp if item.created_at is None else item.created_at
        self._system.put_items([item.model_copy(update={"created_at": at})])
        if self._is_after(event):
            self._new_items.add(item_id)

    def _flush(self) -> None:
        if self._pending:
            self._system.post(self._pending)
            self._pending = []


def _time(event: EventIn) -> float:
    return event.timestamp or 0.0


def _weight(event: EventIn) -> float:
    return event_weight(accept(event, event_id="", received_at=_time(event)), WEIGHTS)


def _age(events: int) -> Age:
    return next(age for age in AGES if age[1] is None or events <= age[1])


def _range(age: Age) -> str:
    first, last = age
    return f"{first}+" if last is None else str(first) if first == last else f"{first}-{last}"
