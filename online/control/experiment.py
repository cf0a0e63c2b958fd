"""Experiments as documents: which share of a surface's users is shared out among which policies."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from online.core.control import ControlEntry
from online.core.experiment import BUCKETS, Experiment, Variant
from online.core.holdout import HOLDOUT
from online.core.metric import MetricName
from schemas.fields import Edge, Label

from .kind import Kind, Others, Raw

MOST_VARIANTS = 10
Words = Annotated[str, StringConstraints(max_length=1000)]


class VariantIn(Edge):
    """One of the ways to answer."""

    name: Label
    weight: Annotated[float, Field(gt=0, le=1e6)] = Field(default=1.0, description="Its share, against the others'")
    policy: Label = Field(description="Id of the policy that answers")


class ExperimentIn(Edge):
    """An experiment as a client sends it."""

    surface: Label
    variants: Annotated[list[VariantIn], Field(min_length=2, max_length=MOST_VARIANTS)]
    control: Label = Field(description="Name of the variant that the others are compared with")
    first_bucket: Annotated[int, Field(ge=0, lt=BUCKETS)] = Field(
        default=0, description=f"Of the {BUCKETS} that the surface's users are dealt into"
    )
    end_bucket: Annotated[int, Field(gt=0, le=BUCKETS)] = Field(default=BUCKETS, description="The first behind it")
    salt: Label | None = Field(default=None, description="Another one deals the variants anew; default: the id")
    unit: Literal["user"] = Field(default="user", description="A visitor who is nobody's yet is a unit as well")
    metrics: Annotated[list[MetricName], Field(max_length=8)] = Field(
        default=[], description="The first one decides; default: the surface's"
    )
    status: Literal["running", "stopped"] = "running"
    owner: Words = ""
    why: Words = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            msg = "variants: one is named twice"
            raise ValueError(msg)
        if self.control not in names:
            msg = f"control: there is no variant of this name: use {', '.join(names)}"
            raise ValueError(msg)
        if self.first_bucket >= self.end_bucket:
            msg = "end_bucket comes after first_bucket"
            raise ValueError(msg)
        if len(set(self.metrics)) < len(self.metrics):
            msg = "metrics: one is named twice"
            raise ValueError(msg)
        return self


def _experiment(experiment_id: str, version: int, document: ExperimentIn) -> Experiment:
    return Experiment(
        experiment_id,
        surface=document.surface,
        salt=document.salt or experiment_id,
        variants=tuple(Variant(variant.name, variant.weight, variant.policy) for variant in document.variants),
        control=document.control,
        first_bucket=document.first_bucket,
        end_bucket=document.end_bucket,
        metrics=tuple(document.metrics),
        is_running=document.status == "running",
    )


def _complaint(experiment_id: str, experiment: Experiment | None, others: Others) -> str:
    if experiment is None:
        return ""
    if experiment_id == HOLDOUT:
        return "the id holdout is that of the users who are never learned from: name it otherwise"
    known = others.ids("policy")
    if unknown := [variant.policy for variant in experiment.variants if variant.policy not in known]:
        place = [variant.policy for variant in experiment.variants].index(unknown[0])
        return f"variants.{place}.policy: there is none of this id; there are {', '.join(sorted(known))}"
    if not experiment.is_running:
        return ""
    for other in others.of(EXPERIMENT).values():
        if other.is_running and other.experiment_id != experiment_id and experiment.overlaps(other):
            theirs = f"{other.experiment_id} has buckets {other.first_bucket} up to {other.end_bucket} of the surface"
            return f"first_bucket: {theirs}; stop it, or take others"
    return ""


def split_since(entry: ControlEntry) -> float:
    """Return when units began to be dealt to variants as they are now (epoch seconds), 0 for never.

    Other metrics, buckets or words leave what was counted before as it is, and so does a pause; another surface, salt,
    weight or policy begins anew.
    """
    documents = {version.number: version.document for version in entry.versions}
    now = _split(documents.get(entry.versions[-1].number)) if entry.versions else None
    began = 0.0
    for done in reversed(entry.done):
        if now is None or _split(documents.get(done.number)) != now:
            break
        began = done.at
    return began


def _split(document: Raw | None) -> tuple[object, ...] | None:
    return None if document is None else tuple(document.get(name) for name in ("surface", "salt", "variants"))


EXPERIMENT: Kind[Experiment] = Kind("experiment", ExperimentIn, _experiment, {}, _complaint)
