"""`headrace verify aa`: experiments in which nothing differs, looked at every day, and some in which something does.

Units come back, some of them daily and most never; some click at everything, and a few spend most of the money. The
hash that serves deals them to variants, and what is counted goes through the code that answers `…/results`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import comb, hypot

import numpy as np
from numpy.typing import NDArray

from online.core.experiment import Experiment, Variant, variant_of
from online.core.experiment_results import ALPHA, MISMATCH_ALPHA, Results, Tally, results
from online.core.ratio_mean import Sums, standard_error

Floats = NDArray[np.float64]

METRICS = ("click_rate", "purchase_rate", "revenue_per_unit")
CONTROL, OTHER = "now", "new"
UNLIKELY = 1e-3  # more false alarms than that often happen by chance mean that the bound is broken
FOUND = 0.9  # of what is planted, at least
SINGLE_LOOK = 1.96  # standard errors that a test made for one look asks for


@dataclass(frozen=True, slots=True)
class Trial:
    """What is simulated: how many experiments, each with so many units, for so many days; `share` is the new one's."""

    runs: int = 1000
    days: int = 28
    units: int = 8000
    share: float = 0.5
    planted: int = 100
    effect: float = 0.5
    lost: float = 0.15
    seed: int = 1

    @property
    def experiment(self) -> Experiment:
        """The experiment, before it gets the salt of a run."""
        variants = [Variant(CONTROL, 1.0 - self.share, ""), Variant(OTHER, self.share, "")]
        return Experiment("aa", "home", "", variants, CONTROL, metrics=METRICS)


@dataclass(frozen=True, slots=True)
class Run:
    """What one experiment said at any of its days."""

    won: frozenset[str]  # metrics in which a difference was ever called
    found_better: bool  # the new one, in the first metric, at the end
    mismatch: bool
    by_single_looks: bool  # the first metric, by a test for one look made every day


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of runs; `false_wins` is of those with a difference called in any metric on any day."""

    runs: int
    days: int
    units: int
    share: float
    false_wins: float
    false_wins_by_metric: dict[str, float]
    false_mismatches: float
    false_wins_by_single_looks: float
    planted: int
    effect: float
    effects_found: float
    lost: float
    mismatches_found: float
    is_correct: bool


def verify_aa(trial: Trial, progress: Callable[[int], None] = lambda done: None) -> Outcome:
    """Simulate the experiments of a trial, and as many as are planted with an effect and with lost units."""
    done = 0

    def play(stream: int, runs: int, **planted: float) -> Iterator[Run]:
        nonlocal done
        for number in range(runs):
            yield _run(trial, np.random.default_rng([trial.seed, stream, number]), f"{stream}-{number}", **planted)
            done += 1
            progress(done)

    null = list(play(0, trial.runs))
    effects = list(play(1, trial.planted, effect=trial.effect))
    mismatches = list(play(2, trial.planted, lost=trial.lost))
    wins, alarms = sum(bool(run.won) for run in null), sum(run.mismatch for run in null)
    found = _share(sum(run.found_better for run in effects), trial.planted)
    noticed = _share(sum(run.mismatch for run in mismatches), trial.planted)
    return Outcome(
        runs=trial.runs,
        days=trial.days,
        units=trial.units,
        share=trial.share,
        false_wins=_share(wins, trial.runs),
        false_wins_by_metric={name: _share(sum(name in run.won for run in null), trial.runs) for name in METRICS},
        false_mismatches=_share(alarms, trial.runs),
        false_wins_by_single_looks=_share(sum(run.by_single_looks for run in null), trial.runs),
        planted=trial.planted,
        effect=trial.effect,
        effects_found=found,
        lost=trial.lost,
        mismatches_found=noticed,
        is_correct=is_bounded(wins, trial.runs, ALPHA)
        and is_bounded(alarms, trial.runs, MISMATCH_ALPHA)
        and (not trial.planted or min(found, noticed) >= FOUND),
    )


def _share(count: int, runs: int) -> float:
    return round(count / runs, 5) if runs else 0.0


def is_bounded(count: int, runs: int, chance: float) -> bool:
    """Say whether so many of the runs may have happened by chance, each with a chance of at most this.

    >>> is_bounded(60, 1000, 0.05), is_bounded(90, 1000, 0.05)
    (True, False)
    """
    fewer = sum(comb(runs, k) * chance**k * (1.0 - chance) ** (runs - k) for k in range(count))
    return 1.0 - fewer > UNLIKELY


def _run(trial: Trial, rng: np.random.Generator, salt: str, *, effect: float = 0.0, lost: float = 0.0) -> Run:
    experiment = replace(trial.experiment, salt=salt)
    is_new = np.array([variant_of(experiment, f"u{n}").name == OTHER for n in range(trial.units)])
    shop = _Shop(rng, trial, np.where(is_new, 1.0 + effect, 1.0))
    kept = ~(is_new & (rng.random(trial.units) < lost))
    won: set[str] = set()
    mismatch = by_single_looks = found_better = False
    for day in range(trial.days):
        shop.live(day)
        tallies = {name: shop.tally(kept & (is_new == (name == OTHER))) for name in (CONTROL, OTHER)}
        said = results(experiment.shares, CONTROL, METRICS, tallies)
        won |= {one.metric for one in said.metrics if one.differences[OTHER].verdict != "open"}
        found_better = said.metrics[0].differences[OTHER].verdict == "better"
        mismatch |= said.sample_ratio.is_mismatch
        by_single_looks |= _differs_at_one_look(tallies, said)
    return Run(frozenset(won), found_better, mismatch, by_single_looks)


class _Shop:
    """The units of an experiment, and what they have done so far."""

    def __init__(self, rng: np.random.Generator, trial: Trial, lift: Floats) -> None:
        n = trial.units
        self._rng = rng
        self._comes = rng.integers(0, trial.days, n) * (rng.random(n) < 0.7)  # the others are there from the first day
        activity = np.minimum(rng.pareto(1.5, n) * 0.3, 10.0)
        self._visits = np.where(rng.random(n) < 0.5, activity, 0.05)  # slates a day
        self._clicks = np.minimum(rng.beta(1.0, 9.0, n) * lift, 1.0)
        self._buys, self._spends = rng.beta(1.0, 20.0, n), rng.lognormal(3.0, 1.2, n)
        self.slates, self.clicked, self.bought, self.revenue = (np.zeros(n) for _ in range(4))

    def live(self, day: int) -> None:
        """Let a day pass; who comes for the first time is shown a slate."""
        slates = np.where(self._comes <= day, self._rng.poisson(self._visits), 0) + (self._comes == day)
        clicked = self._rng.binomial(slates, self._clicks)
        bought = self._rng.binomial(clicked, self._buys)
        self.slates += slates
        self.clicked += clicked
        self.bought += bought
        self.revenue += bought * self._spends * self._rng.lognormal(0.0, 0.5, len(slates))

    def tally(self, is_meant: NDArray[np.bool_]) -> Tally:
        """Return what is counted of some units, of those that have come."""
        rows = is_meant & (self.slates > 0)
        slates, ones = self.slates[rows], np.ones(int(rows.sum()))
        pairs = {
            "click_rate": (self.clicked[rows], slates),
            "purchase_rate": (self.bought[rows], slates),
            "revenue_per_unit": (self.revenue[rows], ones),
        }
        sums = {name: _sums(y, d) for name, (y, d) in pairs.items()}
        return Tally(len(slates), int(slates.sum()), sums)


def _sums(y: Floats, n: Floats) -> Sums:
    return Sums(len(y), *(float(value) for value in (n.sum(), y.sum(), n @ n, n @ y, y @ y)))


def _differs_at_one_look(tallies: Mapping[str, Tally], said: Results) -> bool:
    """Say whether a test for one look calls a difference in the first metric, as many make it each day anew."""
    of_variants = [tally.sums[METRICS[0]] for tally in tallies.values()]
    errors = [standard_error(sums, sums.spread(sums.mean)) for sums in of_variants]
    apart = said.metrics[0].differences[OTHER].value
    return abs(apart) > SINGLE_LOOK * hypot(*errors)
