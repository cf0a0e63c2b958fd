"""Models: which of the rankers that learn side by side serves where a policy says `learned`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from online.models.side_by_side import NAMED
from schemas.fields import Edge, Label

from .kind import Kind, Others

RANKER_SLOT = "ranker"
"""The one document of the kind."""


def is_model(name: str) -> str:
    """Return the name of a model.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in NAMED:
        msg = f"there is no model of this name: use {', '.join(NAMED)}"
        raise ValueError(msg)
    return name


class ModelIn(Edge):
    """Which model is active; None: the one that the settings make the first of those that learn."""

    candidate: Annotated[Label, AfterValidator(is_model)] | None = None


def _candidate(slot: str, version: int, document: ModelIn) -> str:
    return document.candidate or ""


def _complaint(slot: str, candidate: str | None, others: Others) -> str:
    return ""


MODEL: Kind[str] = Kind("model", ModelIn, _candidate, {RANKER_SLOT: ModelIn().model_dump(mode="json")}, _complaint)
