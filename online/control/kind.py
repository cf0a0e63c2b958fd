"""A kind of document that says how the system is to behave. To add one, declare it and name it in `control.KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from schemas.fields import Edge

T = TypeVar("T")
Raw = Mapping[str, Any]


class Others(Protocol):
    """All documents as they stand, for a kind to check one of its own against."""

    def of(self, kind: Kind[T]) -> Mapping[str, T]:
        """Return what stands of a kind, by id."""
        ...

    def ids(self, kind: str) -> Collection[str]:
        """Return the ids of what stands of a kind, by the kind's name."""
        ...


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of document.

    `model` says what a client may send, `build` makes of (id, version, valid document) what workers read, and
    `built_in` has the documents that are there without anybody's doing, each as version 1 of its id. `complaint` says
    why a new value of an id, None for one that is taken away, does not go with the others; empty when it does.
    """

    name: str
    model: type[Edge]
    build: Callable[[str, int, Any], T]
    built_in: Mapping[str, Raw]
    complaint: Callable[[str, T | None, Others], str]

    def read(self, document_id: str, version: int, document: Raw) -> T:
        """Return what workers read of a document.

        Raises:
            pydantic.ValidationError: it does not fit.
        """
        return self.build(document_id, version, self.model.model_validate(document))
