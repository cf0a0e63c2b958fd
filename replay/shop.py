"""A synthetic shop whose shoppers' tastes are known, so that a slate's regret against the best possible one is too.

Everything is a function of `ShopConfig`: the same configuration is the same shop. The log-odds of a click on an
examined item add up what the item has for everybody (`appeal`, exponential, so that popularity has a Pareto tail), what
this user likes (categories, brands, price, a hidden style that no facet shows), what this session is after (`intent`, a
category), and noise of the pair. Examination follows the position-based model (Craswell et al. 2008): slot k is looked
at with probability k**-position_bias, independent of what it holds; so expected clicks add up over slots, and the items
of the highest click probability in descending order are the best slate.

Newcomers are items that the shop gets later, one of them the most appealing of all. Shoppers who look around come upon
it no more often than upon an ordinary item: only who is shown it finds out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.item import ItemIn

Floats = NDArray[np.float64]

_GOODS = (
    ("running", "Trail shoe"), ("outdoor", "Rain jacket"), ("kitchen", "Cast iron pan"), ("audio", "Headphone"),
    ("books", "Pocket atlas"), ("garden", "Pruning shear"), ("office", "Desk lamp"), ("toys", "Wooden train"),
    ("beauty", "Hand balm"), ("cycling", "Bike light"), ("photo", "Camera strap"), ("pets", "Dog lead"),
    ("bath", "Bath towel"), ("music", "Tin whistle"), ("travel", "Day pack"), ("games", "Card game"),
)  # fmt: skip
_DAY_S = 86_400.0
_ESTABLISHED_S = 90 * _DAY_S  # age of the items the shop opens with
# Streams of randomness: each draws from its own generator, so that one more draw here moves nothing there.
_CATALOGUE, _TASTES, _PAIRS, _ARRIVALS = range(4)


@dataclass(frozen=True, slots=True)
class ShopConfig:
    """What makes a shop. Weights are in log-odds of a click on an examined item.

    `drift` is the share of the tastes that moves, per day after `start` (epoch seconds), from the first to a second,
    independent set; 0 keeps them still. `dims` is the length of the hidden style vectors. `newcomers` of the items come
    `newcomers_after` seconds after `start`; the last of them has `great` more appeal than the best of the others.
    """

    items: int = 400
    categories: int = 12
    brands: int = 24
    users: int = 200
    seed: int = 7
    start: float = 1_767_225_600.0  # 2026-01-01
    dims: int = 4
    base: float = -6.8
    appeal: float = 0.65
    category: float = 2.5
    brand: float = 1.5
    price: float = 0.8
    style: float = 0.5
    intent: float = 3.0
    noise: float = 0.4
    position_bias: float = 0.7
    drift: float = 0.0
    loyalty: float = 0.7  # share of sessions whose intent follows the user's taste; others follow the crowd
    browse_views: float = 2.0  # mean number of views of a browse
    asks: float = 3.0  # mean number of slates asked for in a session
    slate_size: int = 10
    cart_rate: float = 0.3  # of clicks
    purchase_rate: float = 0.4  # of additions to the cart
    newcomers: int = 0
    newcomers_after: float = 0.0
    great: float = 2.5  # with it, the item belongs into the best ten of seven sessions in eight

    def __post_init__(self) -> None:
        for name in ("items", "categories", "brands", "users", "dims", "slate_size"):
            if getattr(self, name) < 1:
                msg = f"{name} must be at least 1, not {getattr(self, name)}"
                raise ValueError(msg)
        if self.items < self.categories:
            msg = f"{self.items} items cannot fill {self.categories} categories"
            raise ValueError(msg)
        if not 0 <= self.newcomers < self.items // self.categories:  # so that no category opens empty
            msg = f"{self.newcomers} newcomers are not fewer than the {self.items // self.categories} of a category"
            raise ValueError(msg)


class Arrival(NamedTuple):
    """A user's `number`-th session (from 0) begins at `at` (epoch seconds)."""

    at: float
    user: int
    number: int


class Tastes(NamedTuple):
    """What users like: rows are users."""

    category: Floats  # (n_users, n_categories), the favourite has 1
    brand: Floats  # (n_users, n_brands), the favourite has 1
    price: Floats  # (n_users,), in standard deviations of an item's log price within its category
    style: Floats  # (n_users, dims)


class Shop:
    """The catalogue, the hidden tastes and the truth about every slate.

    >>> shop = Shop(ShopConfig(items=50, users=5, seed=1))
    >>> best = shop.oracle_slate(user=0, intent=3, n=5)
    >>> shop.regret(0, 3, best)
    0.0
    >>> shop.regret(0, 3, best[::-1]) > 0
    True
    """

    def __init__(self, config: ShopConfig) -> None:
        self.config = config
        rng = np.random.default_rng([config.seed, _CATALOGUE])
        n, c = config.items, config.categories
        crowd = 1.0 / np.arange(1, c + 1) ** 0.5
        self.crowd: Floats = crowd / crowd.sum()  # (n_categories,)
        self.item_category = rng.permutation(np.arange(n) % c)  # (n_items,), every category has items
        self.item_brand = rng.integers(config.brands, size=n)  # (n_items,)
        self.item_price_z = rng.normal(size=n)  # (n_items,)
        # The quantiles of an exponential in random order: the same tail in every shop, so that seeds are comparable
        self.item_appeal = -config.appeal * np.log((rng.permutation(n) + 0.5) / n)  # (n_items,)
        if config.newcomers:
            self.item_appeal[-1] = self.item_appeal[:-1].max() + config.great
        self._arrival = np.where(np.arange(n) < n - config.newcomers, -np.inf, config.start + config.newcomers_after)
        centre = rng.normal(size=(c, config.dims))
        self.item_style = (centre[self.item_category] + rng.normal(size=(n, config.dims))) / math.sqrt(
            2 * config.dims
        )  # (n_items, dims)
        median = np.exp(rng.uniform(math.log(8.0), math.log(120.0), size=c))
        self.item_price = np.round(median[self.item_category] * np.exp(0.5 * self.item_price_z), 2)
        self.items = tuple(self._document(i) for i in range(n))
        self._index = {item.item_id: i for i, item in enumerate(self.items)}
        tastes = np.random.default_rng([config.seed, _TASTES])
        self._first, self._second = _tastes(tastes, config), _tastes(tastes, config)
        activity = tastes.permutation(1.0 / np.arange(1, config.users + 1) ** 0.6)
        self.activity: Floats = activity / activity.sum()  # (n_users,), share of the sessions

    def _document(self, item: int) -> ItemIn:
        category = int(self.item_category[item])
        name, noun = _GOODS[category % len(_GOODS)]
        round_ = category // len(_GOODS)
        return ItemIn(
            item_id=f"i{item}",
            categories=[name if not round_ else f"{name} {round_ + 1}"],
            brand=f"brand {int(self.item_brand[item])}",
            price=float(self.item_price[item]),
            attributes={"title": f"{noun} {item}"},
            created_at=max(self.config.start - _ESTABLISHED_S, float(self._arrival[item])),
        )

    @property
    def opening(self) -> tuple[ItemIn, ...]:
        """The items that the shop opens with."""
        return self.items[: len(self.items) - self.config.newcomers]

    @property
    def newcomers(self) -> tuple[ItemIn, ...]:
        """The items that come later, the great one last."""
        return self.items[len(self.opening) :]

    def is_there(self, at: float | None = None) -> NDArray[np.bool_]:
        """Say which items the shop has at a time (default: the start), shape (n_items,)."""
        return self._arrival <= (self.config.start if at is None else at)

    def category_name(self, category: int) -> str:
        """Return the name that the category's items carry."""
        return self.items[int(np.argmax(self.item_category == category))].categories[0]

    def user_id(self, user: int) -> str:
        """Return the user's id in events."""
        return f"u{user}"

    def tastes(self, user: int, at: float | None = None) -> Tastes:
        """Return one user's tastes at a time (default: the start), as rows without the user axis."""
        days = 0.0 if at is None else max(0.0, at - self.config.start) / _DAY_S
        moved = min(1.0, self.config.drift * days)
        pairs = zip(self._first, self._second, strict=True)
        return Tastes(*((1.0 - moved) * first[user] + moved * second[user] for first, second in pairs))

    def intents(self, user: int, at: float | None = None) -> Floats:
        """Return the probabilities of a session's intent, shape (n_categories,)."""
        taste = self.tastes(user, at).category
        share: Floats = taste / taste.sum()
        return self.config.loyalty * share + (1.0 - self.config.loyalty) * self.crowd

    def log_odds(self, user: int, at: float | None = None) -> Floats:
        """Return the log-odds of a click on each item if examined, without an intent, shape (n_items,)."""
        cfg, taste = self.config, self.tastes(user, at)
        noise = np.random.default_rng([cfg.seed, _PAIRS, user]).normal(size=cfg.items)
        total: Floats = (
            cfg.base
            + self.item_appeal
            + cfg.category * taste.category[self.item_category]
            + cfg.brand * taste.brand[self.item_brand]
            - cfg.price * np.minimum(np.abs(self.item_price_z - taste.price), 2.0)
            + cfg.style * (self.item_style @ taste.style)
            + cfg.noise * noise
        )
        return np.where(self.is_there(at), total, -np.inf)

    def view_shares(self, user: int, intent: int, at: float) -> Floats:
        """Return how the views of a user who looks around fall on the items, shape (n_items,): on what it likes in the
        category it is after, and on what all like."""
        appeal, odds = self.item_appeal.copy(), self.log_odds(user, at) + self.config.intent
        if self.config.newcomers:
            odds[-1] -= appeal[-1]
            appeal[-1] = 0.0
        liked = _sigmoid(odds) * (self.item_category == intent)
        crowd = np.exp(appeal) * self.is_there(at)
        shares: Floats = 0.75 * liked / liked.sum() + 0.25 * crowd / crowd.sum()
        return shares

    def click_probabilities(self, user: int, intent: int, at: float | None = None) -> Floats:
        """Return the true probability of a click on each item if examined, shape (n_items,)."""
        return _sigmoid(self.log_odds(user, at) + self.config.intent * (self.item_category == intent))

    def slate_click_probabilities(
        self, user: int, intent: int, slate: Sequence[str], at: float | None = None
    ) -> Floats:
        """Return the true probability of a click on each item of a slate if examined, shape (len(slate),).

        Raises:
            KeyError: the shop has no such item.
        """
        shown: Floats = self.click_probabilities(user, intent, at)[[self._index[item_id] for item_id in slate]]
        return shown

    def true_click_probability(self, user: int, intent: int, item_id: str, at: float | None = None) -> float:
        """Return the true probability of a click on one item if examined.

        Raises:
            KeyError: the shop has no such item.
        """
        return float(self.slate_click_probabilities(user, intent, [item_id], at)[0])

    def examination(self, n: int) -> Floats:
        """Return the probabilities that slots 1 to n are looked at, shape (n,)."""
        return np.power(np.arange(1, n + 1, dtype=np.float64), -self.config.position_bias)

    def oracle_slate(self, user: int, intent: int, n: int, at: float | None = None) -> list[str]:
        """Return the n items that make the most expected clicks, best first."""
        return self._top(self.click_probabilities(user, intent, at), n)

    def crowd_click_probabilities(self, at: float | None = None) -> Floats:
        """Return each item's click probability averaged over all sessions of all users, shape (n_items,)."""
        mean = np.zeros(self.config.items)
        for user, share in enumerate(self.activity):
            odds = self.log_odds(user, at)
            wanted = self.intents(user, at)[self.item_category]
            mean += share * (wanted * _sigmoid(odds + self.config.intent) + (1.0 - wanted) * _sigmoid(odds))
        return mean

    def popular_slate(self, n: int, at: float | None = None) -> list[str]:
        """Return the best slate that is the same for everybody: what perfect popularity would show."""
        return self._top(self.crowd_click_probabilities(at), n)

    def expected_clicks(self, user: int, intent: int, slate: Sequence[str], at: float | None = None) -> float:
        """Return the expected number of clicks on a slate.

        Raises:
            KeyError: the shop has no such item.
        """
        return float(self.examination(len(slate)) @ self.slate_click_probabilities(user, intent, slate, at))

    def regret(self, user: int, intent: int, slate: Sequence[str], at: float | None = None) -> float:
        """Return the expected clicks that the oracle's slate of the same length makes beyond this one."""
        best = self.oracle_slate(user, intent, len(slate), at)
        return self.expected_clicks(user, intent, best, at) - self.expected_clicks(user, intent, slate, at)

    def arrivals(self, rate: float, start: float | None = None) -> Iterator[Arrival]:
        """Yield session starts for ever: a Poisson process of `rate` per second; some users come far more often."""
        rng = np.random.default_rng([self.config.seed, _ARRIVALS])
        at = self.config.start if start is None else start
        seen = [0] * self.config.users
        while True:
            at += float(rng.exponential(1.0 / rate))
            user = int(rng.choice(self.config.users, p=self.activity))
            yield Arrival(at, user, seen[user])
            seen[user] += 1

    def _top(self, values: Floats, n: int) -> list[str]:
        return [f"i{i}" for i in np.argsort(-values, kind="stable")[:n]]


def _tastes(rng: np.random.Generator, config: ShopConfig) -> Tastes:
    category = rng.gamma(0.4, size=(config.users, config.categories)) + 1e-9  # few favourites, a long rest
    brand = rng.gamma(0.3, size=(config.users, config.brands)) + 1e-9
    return Tastes(
        category=category / category.max(axis=1, keepdims=True),
        brand=brand / brand.max(axis=1, keepdims=True),
        price=rng.normal(size=config.users),
        style=rng.normal(size=(config.users, config.dims)),
    )


def _sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-x))
