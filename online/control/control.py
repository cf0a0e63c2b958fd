"""The control documents as a worker reads them at one moment: an immutable value, the fold of the control topic."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import ValidationError

from online.core.canary import Canary
from online.core.control import ControlEntry, changed
from online.core.experiment import Running, running
from online.core.policy_document import DEFAULT_POLICY, POLICIES, Policy
from online.ports import START, Position
from schemas.control import ControlChange

from .canary import CANARY
from .experiment import EXPERIMENT
from .kind import Kind, Raw
from .model import MODEL, RANKER_SLOT
from .policy import POLICY, policy_document
from .rule import RULE
from .surface import SURFACE, Surface

T = TypeVar("T")
Key = tuple[str, str]
"""Kind and id."""

KINDS: Mapping[str, Kind[Any]] = {kind.name: kind for kind in (POLICY, SURFACE, MODEL, RULE, EXPERIMENT, CANARY)}


class Standing(NamedTuple):
    """A version of a document: its number, itself, and whether it is built in."""

    version: int
    document: Raw
    is_built_in: bool


@dataclass(frozen=True, slots=True)
class Control:
    """All documents. `version` is the position of the last change in the topic, START before the first.

    `built_in` has by kind the documents that are there without anybody's doing, `values` by kind what workers read, and
    `experiments` those that run, by surface. A tenant's first version of a built-in document is its second one.
    """

    built_in: Mapping[str, Mapping[str, Raw]]
    values: Mapping[str, Mapping[str, Any]]
    version: Position = START
    entries: Mapping[Key, ControlEntry] = field(default_factory=dict)
    experiments: Running = field(default_factory=dict)

    def of(self, kind: Kind[T]) -> Mapping[str, T]:
        """Return what stands of a kind, by id."""
        return cast("Mapping[str, T]", self.values[kind.name])

    def ids(self, kind: str) -> Collection[str]:
        """Return the ids of what stands of a kind, by the kind's name."""
        return self.values[kind].keys()

    def entry(self, kind: str, document_id: str) -> ControlEntry:
        """Return what was done to a document."""
        return self.entries.get((kind, document_id), ControlEntry())

    def standings(self, kind: Kind[Any], document_id: str) -> list[Standing]:
        """Return the versions of a document that were current one after the other; the last one is now.

        Of one that was taken away nothing is left but what is built in.
        """
        built_in = self.built_in[kind.name].get(document_id)
        first = 0 if built_in is None else 1
        found = [] if built_in is None else [Standing(1, built_in, True)]
        for version in self.entry(kind.name, document_id).versions:
            if version.document is not None:
                found.append(Standing(version.number + first, version.document, False))
            else:
                found = found[:1] if built_in is not None else []
        return found

    def applied(self, change: ControlChange, position: Position) -> Control:
        """Return the control documents behind a change that stands at a position of the topic."""
        before = self.entry(change.kind, change.id)
        after = changed(before, change)
        at = max(position, self.version)
        if after is before:
            return replace(self, version=at)
        return replace(self, version=at)._with({(change.kind, change.id): after})

    def _with(self, entries: Mapping[Key, ControlEntry]) -> Control:
        whole = replace(self, entries={**self.entries, **entries})
        values = {name: dict(known) for name, known in self.values.items()}
        for name, document_id in entries:
            kind = KINDS.get(name)
            if kind is None:  # of a newer program
                continue
            value = whole._value(kind, document_id)
            if value is None:
                values[name].pop(document_id, None)
            else:
                values[name][document_id] = value
        return replace(whole, values=values, experiments=running(values[EXPERIMENT.name].values()))

    def _value(self, kind: Kind[T], document_id: str) -> T | None:
        """Return the newest of what stood that this program can read: another one may have written the last."""
        for standing in reversed(self.standings(kind, document_id)):
            try:
                return kind.read(document_id, standing.version, standing.document)
            except ValidationError:
                continue
        return None

    def surface(self, name: str) -> Surface:
        """Return a surface; one that is not registered asks for what a surface asks for by default."""
        return self.of(SURFACE).get(name) or Surface(name)

    def canary(self, surface: Surface) -> Canary | None:
        """Return the canary that has a share of a surface's users, while the surface is what it is compared with."""
        canary = self.of(CANARY).get(surface.name)
        return canary if canary is not None and canary.is_live and canary.baseline == surface.policy else None

    def policy(self, policy_id: str) -> Policy:
        """Return a policy, the default one where there is none of this id.

        A surface may name one that was taken away in the same moment at another worker.
        """
        policies = self.of(POLICY)
        return policies.get(policy_id) or policies[DEFAULT_POLICY]

    @property
    def model(self) -> str:
        """The name of the model that was made active; empty where none was."""
        return self.of(MODEL)[RANKER_SLOT]

    def loaded(self, entries: Iterable[tuple[Key, ControlEntry]], version: Position) -> Control:
        """Return what is built in and stored entries of what was changed, as of a position."""
        start = Control(self.built_in, _read(self.built_in), version)
        return start._with(dict(entries))


def _read(documents: Mapping[str, Mapping[str, Raw]]) -> dict[str, dict[str, Any]]:
    return {
        name: {document_id: KINDS[name].read(document_id, 1, document) for document_id, document in known.items()}
        for name, known in documents.items()
    }


def built_in(policies: Mapping[str, Policy]) -> Control:
    """Return what is there before the first change, with an installation's own form of the built-in policies.

    >>> sorted(built_in({}).of(SURFACE))
    ['cart', 'email', 'home', 'item', 'search']
    """
    documents: dict[str, Mapping[str, Raw]] = {kind.name: kind.built_in for kind in KINDS.values()}
    documents[POLICY.name] = {policy_id: policy_document(policy) for policy_id, policy in policies.items()}
    return Control(documents, _read(documents))


BUILT_IN = built_in(POLICIES)
