"""What the outcomes of a slot are worth, and the utility of an item that may lead to several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Value:
    """The worth of a click, and of a cart and a purchase that follow it, in any one unit.

    About three clicks are as good as a cart and ten as a purchase: the inverse of how often shops see one follow.
    """

    click: float = 1.0
    cart: float = 3.0
    purchase: float = 10.0

    def __post_init__(self) -> None:
        if min(self.click, self.cart, self.purchase) < 0.0 or self.click + self.cart + self.purchase <= 0.0:
            msg = f"outcomes are worth 0 or more, and one of them more, not {self}"
            raise ValueError(msg)


def value_utilities(clicks: Floats, following: Mapping[str, Floats], value: Value) -> Floats:
    """Return the log-odds of the value that is expected, as a share of the most there can be.

    The expected value is P(click) · (v_click + Σ v_k · P(k | click)) (as in ESMM: Ma et al., SIGIR 2018), divided by
    v_click + Σ v_k. Where nothing is known of what follows a click, that is P(click): utilities stay log-odds, of which
    the temperature τ of the slot policy is a share, whatever the unit of the values.

    Args:
        clicks: (c,) log-odds of a click.
        following: (c,) log-odds given the click, of "cart" and "purchase" where known.
        value: what they are worth.

    >>> clicks = np.array([-2.0, 0.0])
    >>> value_utilities(clicks, {}, Value()).tolist()
    [-2.0, 0.0]
    >>> value_utilities(clicks, {"purchase": np.array([40.0, -40.0])}, Value()).round(2).tolist()
    [-2.0, -3.04]
    """
    if not following:
        return clicks
    worth = {name: getattr(value, name) for name in following}
    most = value.click + sum(worth.values())
    share = np.full(len(clicks), value.click / most)
    for name, odds in following.items():
        share += worth[name] / most * np.exp(-np.logaddexp(0.0, -odds))
    share = np.clip(share, 1e-12, 1.0 - 1e-12)
    odds_of_value: Floats = clicks + np.log(share) - np.logaddexp(0.0, clicks + np.log1p(-share))
    return odds_of_value
