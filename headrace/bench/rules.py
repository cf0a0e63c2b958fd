"""`headrace bench rules`: what rules of the business cost when they are written, when items change, and per request."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headrace.bench.measure import headed, median, spread
from online.core.decay import DAY_S
from online.core.item_table import ItemTable
from online.core.record import UserRecord
from online.core.rules.check import condition_on_items
from online.core.rules.in_force import InForce
from online.core.rules.request_fields import RequestFields
from online.core.rules.rule_set import CompiledRule, RuleSet, compile_rule
from online.core.rules.syntax import parse
from schemas.item import Item
from schemas.rule import Rule

NOW = 1_767_225_600.0
CANDIDATES, REQUESTS, CHANGED = 300, 200, 500
T = TypeVar("T")
FILTER = "item.price < context.budget && 'c{}' in item.categories"

METHOD = (
    "A catalogue with two categories, three tags, a brand, a price and two attributes per item; rules of all actions, "
    "half of them with a condition on the request, one in five with a condition that only the request decides. "
    "parse_us: one expression, text to tree, uncached. compile_s: all rules over all items; one_more_s: one further "
    "rule; put_us: a changed document among 500. apply_us: rules that are on, support, boosts, pins, caps and what is "
    "logged, for 300 candidates; filter_us: a request's own filter of a known text beside no rules, filter_new_us: of "
    "a new one. CPU time of one thread, medians over repeats."
)


def rules(
    *,
    items: int = 100_000,
    rules: int = 100,
    repeats: int = 5,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure rules.

    Args:
        items: of the catalogue.
        rules: that are on or wait for their requests.
        repeats: of everything.
        seed: of catalogue and requests.
        progress: told what is going on.
    """
    progress(f"a catalogue of {items} items")
    rng, table = np.random.default_rng(seed), ItemTable(partitions=1)
    for n in range(items):
        table.put(_item(rng, n))
    compiled = [compile_rule(rule) for rule in _rules(rules)]
    asking, rows = _requests(rng), rng.integers(items, size=(REQUESTS, CANDIDATES)).astype(np.int32)
    took: dict[str, list[float]] = {}
    for number in range(repeats):
        progress(f"repeat {number + 1} of {repeats}")
        for name, value in _measured(rng, table, compiled, asking, rows, number).items():
            took.setdefault(name, []).append(value)
    document: dict[str, Any] = {"items": items, "rules": rules, "candidates": CANDIDATES}
    for name, values in took.items():
        document |= {name: median(values, 4), f"{name}_spread": spread(values, 4)}
    return headed(METHOD, REQUESTS * repeats, document)


def _measured(
    rng: np.random.Generator,
    table: ItemTable,
    compiled: list[CompiledRule],
    asking: Sequence[RequestFields],
    rows: NDArray[np.int32],
    number: int,
) -> dict[str, float]:
    rule_set, compile_s = _timed(lambda: RuleSet.over(compiled, table))
    further = compile_rule(Rule(rule_id="zz", action="exclude", where="item.brand == 'b7' && 't1' in item.tags"))
    _, one_more_s = _timed(lambda: RuleSet.over([*compiled, further], table, rule_set))
    changed = [_item(rng, int(n)) for n in rng.integers(len(table), size=CHANGED)]
    _, put_s = _timed(lambda: rule_set.put(changed, table))
    texts = [text for rule in compiled if (text := rule.rule.where) is not None]
    _, parse_s = _timed(lambda: [parse(text) for text in texts])
    known = _own(FILTER.format(0))
    fresh = iter(range(number * REQUESTS, (number + 1) * REQUESTS))
    none = RuleSet()
    none.columns = rule_set.columns
    for one in (rule_set, none):  # a request says which columns it wants
        _apply(InForce.of(one, table, asking[0], [known]), rows[0])
        one.columns.build(table)
    return {
        "parse_us": parse_s / len(texts) * 1e6,
        "compile_s": compile_s,
        "one_more_s": one_more_s,
        "put_us": put_s / CHANGED * 1e6,
        "apply_us": _per_request(lambda i: _apply(InForce.of(rule_set, table, asking[i]), rows[i])),
        "no_rules_us": _per_request(lambda i: _apply(InForce.of(none, table, asking[i]), rows[i])),
        "filter_us": _per_request(lambda i: _apply(InForce.of(none, table, asking[i], [known]), rows[i])),
        "filter_new_us": _per_request(
            lambda i: _apply(InForce.of(none, table, asking[i], [_own(FILTER.format(f"new{next(fresh)}"))]), rows[i])
        ),
    }


def _own(text: str) -> CompiledRule:
    condition_on_items(text)
    return compile_rule(Rule(rule_id="request.filter", action="include", where=text))


def _apply(in_force: InForce, rows: NDArray[np.int32]) -> None:
    applied, utilities = in_force.on(rows), np.zeros(len(rows))
    boosts = applied.boosts
    applied.pins(utilities if boosts is None else boosts, applied.is_shown)
    applied.limits(np.zeros((len(rows), 2), np.int32))
    in_force.pinned  # noqa: B018
    applied.fired  # noqa: B018


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.thread_time()
    return work(), time.thread_time() - began


def _per_request(work: Callable[[int], None]) -> float:
    began = time.thread_time()
    for i in range(REQUESTS):
        work(i)
    return (time.thread_time() - began) / REQUESTS * 1e6


def _item(rng: np.random.Generator, number: int) -> Item:
    return Item(
        item_id=f"i{number}",
        updated_at=NOW,
        created_at=NOW - rng.exponential(90.0 * DAY_S),
        categories=[f"c{n}" for n in rng.integers(50, size=2)],
        tags=[f"t{n}" for n in rng.integers(200, size=3)],
        brand=f"b{rng.integers(500)}",
        price=float(np.round(rng.lognormal(3.0, 1.0), 2)),
        attributes={"size": int(rng.integers(30, 50)), "color": f"color{rng.integers(12)}"},
    )


def _rules(n: int) -> list[Rule]:
    """Return rules in turns: settled and not, with and without a condition on the request."""
    forms: list[dict[str, Any]] = [
        {"action": "exclude", "where": "item.brand in ['b{0}', 'b{1}'] && item.price > 400"},
        {"action": "boost", "where": "item.tags.exists(t, t.startsWith('t{0}'))", "factor": 1.5},
        {"action": "include", "where": "item.price < context.budget || 'c{0}' in item.categories"},
        {"action": "pin", "where": "item.item_id == 'i{0}'", "position": 3},
        {"action": "cap", "where": "'c{0}' in item.categories", "most": 2},
        {"action": "boost", "where": "item.age_days < 14.0 && item.brand in user.liked_brands", "factor": 2.0},
        {"action": "exclude", "where": "item.attributes.color == 'color3' && item.attributes.size > 4{0}"},
        {"action": "boost", "where": "'c{0}' in item.categories && !('t{1}' in item.tags)", "factor": 0.5},
        {"action": "exclude", "where": "item.brand == 'b{0}' && item.price < 5"},
        {"action": "boost", "where": "item.brand == 'b{0}' || item.brand == 'b{1}'", "factor": 1.2},
    ]
    whens = [None, "surface == 'home' && context.device == 'phone'", None, "'vip' in user.labels", "request.hour >= 18"]
    found = []
    for number in range(n):
        form = {**forms[number % len(forms)]}
        form["where"] = form["where"].format(number % 10, number % 7)
        found.append(Rule(rule_id=f"r{number:03}", when=whens[number % len(whens)], **form))
    return found


def _requests(rng: np.random.Generator) -> list[RequestFields]:
    record = UserRecord(labels=["vip"], affinities=[{}, {}, {f"b{n}": [1.0] * 3 for n in range(20)}, {}])
    hours, budgets = rng.random(REQUESTS) * DAY_S, rng.integers(10, 200, size=REQUESTS)
    return [
        RequestFields(record, "u1", "home", 20, None, {"device": "phone", "budget": float(budget)}, NOW + float(hour))
        for hour, budget in zip(hours, budgets, strict=True)
    ]
