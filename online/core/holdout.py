"""The holdout: a permanent share of the units, answered by popularity and never learned from.

A unit is a record key: a user, or a visitor as long as it is nobody's. Which ones are held out depends on their keys
alone, so that whoever stamps an event or a slate says the same.
"""

from __future__ import annotations

from hashlib import blake2b

HOLDOUT = "holdout"
"""Id of the holdout among the experiments, and name of its variant."""
EVERYBODY = "everybody"
"""Name of the variant of all other units in the results of the holdout."""


def drawn(*key: str) -> float:
    """Return a number in [0, 1) that depends on the key alone, and is as good as random.

    >>> drawn("salt", "home", "u1") == drawn("salt", "home", "u1") != drawn("salt", "home", "u2")
    True
    """
    digest = blake2b("\0".join(key).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2.0**53


def is_held_out(unit: str, share: float) -> bool:
    """Say whether a unit (a record key) is in the holdout, which has this share of all units.

    A larger share holds out those that a smaller one does, and others.

    >>> [unit for unit in (f"u{n}" for n in range(300)) if is_held_out(unit, 0.01)]
    ['u243']
    """
    return share > 0.0 and drawn(HOLDOUT, unit) < share
