"""The steward of canaries: looks at what each step has brought, and advances, passes or stops it.

What it decides is a change on the control topic like anybody else's; of two stewards who decide at once the change
that comes first counts. It keeps nothing of its own: another one goes on from the documents and the warehouse.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from online.canary_counts import canary_counts
from online.control.canary import CANARY, CanaryDocument, advanced, moved
from online.control.control import Control
from online.control.policy import POLICY
from online.control.surface import SURFACE
from online.core.canary import Action, Canary, decide
from online.core.checkpoint import decode_checkpoint
from online.core.control import CONTROL, CONTROL_ENTRY, CONTROL_VIEW, decode_entry
from online.core.guardrail import Counts
from online.core.steward import STEWARD, Word, encode_words
from online.ports import START, EventLog, StateStore, Unavailable, Warehouse, WarehouseError
from schemas.control import ControlChange, encode_change

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # between looks
SAID_S = 60.0  # that what it says stands


class Steward:
    """Looks after all canaries.

    Args:
        control: built-in documents, as the API workers have them.
        state: where the control documents are, and where it says what it finds.
        log: where its changes go.
        warehouse: where slates and clicks are.
        member: its name.
        clock: epoch seconds.
    """

    def __init__(
        self,
        *,
        control: Control,
        state: StateStore,
        log: EventLog,
        warehouse: Warehouse,
        member: str,
        clock: Callable[[], float],
    ) -> None:
        self._built_in, self._state, self._log, self._warehouse = control, state, log, warehouse
        self._member, self._clock = member, clock

    def look(self) -> Mapping[str, Word]:
        """Look at every canary that has a share of the users, and say what was found of each, by surface.

        Raises:
            Unavailable: state store or log do not answer; nothing was decided that is not on the log.
        """
        control = self._control()
        words = {}
        for surface, canary in control.of(CANARY).items():
            if canary.is_live:
                action = decide(canary, self._counts(canary), self._clock(), changed=_changed(control, canary))
                self._act(control, canary, action)
                words[surface] = Word(self._clock(), action.kind, action.why)
                logger.info("%s on %s at %.0f%%: %s, %s", canary.policy, surface, canary.share * 100, *action[:2])
        self._state.announce(STEWARD, self._member, encode_words(words), SAID_S)
        return words

    def _control(self) -> Control:
        at = decode_checkpoint(self._state.checkpoint(CONTROL_VIEW, 0)).positions.get(CONTROL, START)
        entries = {}
        for key, payload in self._state.scan(0, CONTROL_ENTRY):
            kind, _, document_id = key.partition("/")
            entries[kind, document_id] = decode_entry(payload)
        return self._built_in.loaded(entries.items(), at)

    def _counts(self, canary: Canary) -> Counts | None:
        try:
            return canary_counts(self._warehouse, canary)
        except (Unavailable, WarehouseError) as error:
            logger.warning("the canary of %s holds: %s", canary.surface, error)
            return None

    def _act(self, control: Control, canary: Canary, action: Action) -> None:
        document = CanaryDocument.model_validate(control.standings(CANARY, canary.surface)[-1].document)
        if action.kind == "pass":
            if control.surface(canary.surface).policy != canary.policy:
                surface = {**control.standings(SURFACE, canary.surface)[-1].document, "policy": canary.policy}
                self._change(control, SURFACE.name, canary.surface, surface, action.why)
            self._change(control, CANARY.name, canary.surface, _raw(moved(document, "passed", action.why)), action.why)
        elif action.kind == "stop":
            self._change(control, CANARY.name, canary.surface, _raw(moved(document, "stopped", action.why)), action.why)
        elif action.kind == "advance":
            after = advanced(document, action.why, self._clock())
            self._change(control, CANARY.name, canary.surface, _raw(after), action.why)

    def _change(self, control: Control, kind: str, document_id: str, document: dict[str, object], why: str) -> None:
        change = ControlChange(
            kind=kind,
            id=document_id,
            revision=control.entry(kind, document_id).revision + 1,
            document=document,
            by=STEWARD,
            reason=why,
            at=self._clock(),
        )
        self._log.append(CONTROL, [(0, encode_change(change))])


def _raw(document: CanaryDocument) -> dict[str, object]:
    return document.model_dump(mode="json")


def _changed(control: Control, canary: Canary) -> str:
    """Say what is no longer as it was when the canary began; empty for nothing."""
    surface = control.surface(canary.surface)
    if surface.policy == canary.policy:
        return ""  # it has passed, and that it has is about to be written
    if surface.policy != canary.baseline:
        return f"the surface answers by {surface.policy} now: the canary was compared with {canary.baseline}"
    policies = control.of(POLICY)
    for policy_id, version in ((canary.policy, canary.policy_version), (canary.baseline, canary.baseline_version)):
        if policy_id not in policies:
            return f"there is no policy {policy_id} any more"
        if policies[policy_id].version != version:
            return f"{policy_id} is another: version {policies[policy_id].version}, the canary began with {version}"
    return ""
