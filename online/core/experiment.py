"""Experiments: which unit sees which variant, and who is held out. Pure: of the unit's key and what is documented.

Each surface deals its units into `BUCKETS` buckets; an experiment has a range of them, so that no unit of a surface is
in two. Within it the variant is drawn by another hash, salted by the experiment: the same buckets, given to a later
experiment, are shuffled anew. The holdout is dealt by a third one, alike on all surfaces, and comes before all
experiments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .holdout import HOLDOUT, drawn
from .policy_document import POPULARITY_POLICY

BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the ways to answer; the weights of an experiment's variants are in any one unit."""

    name: str
    weight: float
    policy: str


@dataclass(frozen=True, slots=True)
class Experiment:
    """What workers read of an experiment: it has the buckets from `first_bucket` on, below `end_bucket`."""

    experiment_id: str
    surface: str
    salt: str
    variants: Sequence[Variant]
    control: str  # name of the variant that the others are compared with
    first_bucket: int = 0
    end_bucket: int = BUCKETS
    metrics: tuple[str, ...] = ()  # the first one decides; empty: the surface's
    is_running: bool = True

    def overlaps(self, other: Experiment) -> bool:
        """Say whether the two would deal with the same units of a surface."""
        return (
            self.surface == other.surface
            and self.first_bucket < other.end_bucket
            and other.first_bucket < self.end_bucket
        )

    @property
    def shares(self) -> dict[str, float]:
        """The share of its units that each variant is to have."""
        total = sum(variant.weight for variant in self.variants)
        return {variant.name: variant.weight / total for variant in self.variants}


class Assignment(NamedTuple):
    """The experiment and variant that a unit is in; all empty for none. `policy` is to answer."""

    experiment_id: str = ""
    variant: str = ""
    policy: str = ""


NONE = Assignment()
HELD_OUT = Assignment(HOLDOUT, HOLDOUT, POPULARITY_POLICY)

Running = Mapping[str, Sequence[Experiment]]
"""Surface -> its running experiments."""


def running(experiments: Iterable[Experiment]) -> Running:
    """Return the experiments that run, by surface."""
    found: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        if experiment.is_running:
            found.setdefault(experiment.surface, []).append(experiment)
    return found


def bucket_of(surface: str, unit: str) -> int:
    """Return the bucket of a unit on a surface.

    >>> bucket_of("home", "u1")
    3897
    """
    return int(drawn("bucket", surface, unit) * BUCKETS)


def variant_of(experiment: Experiment, unit: str) -> Variant:
    """Return the variant of a unit of the experiment.

    >>> experiment = Experiment("e", "home", "e", [Variant("a", 1.0, "p"), Variant("b", 3.0, "q")], control="a")
    >>> sum(variant_of(experiment, f"u{n}").name == "b" for n in range(1000))
    775
    """
    left = drawn("variant", experiment.salt, experiment.surface, unit) * sum(v.weight for v in experiment.variants)
    for variant in experiment.variants:
        left -= variant.weight
        if left < 0.0:
            return variant
    return experiment.variants[-1]  # by a rounding error


def assigned(experiments: Running, surface: str, unit: str | None) -> Assignment:
    """Return the experiment of a surface that a unit is in, and its variant; who is nobody is in none.

    >>> experiment = Experiment("e", "home", "e", [Variant("a", 1.0, "p")], control="a", end_bucket=5000)
    >>> [assigned(running([experiment]), "home", unit).variant for unit in ("u1", "u2", "u6")]
    ['a', 'a', '']
    """
    candidates = experiments.get(surface)
    if not candidates or unit is None:
        return NONE
    bucket = bucket_of(surface, unit)
    for experiment in candidates:
        if experiment.first_bucket <= bucket < experiment.end_bucket:
            variant = variant_of(experiment, unit)
            return Assignment(experiment.experiment_id, variant.name, variant.policy)
    return NONE
