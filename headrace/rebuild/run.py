"""`headrace rebuild`: fold every view anew beside the living one, and put it in its place.

The views go on serving meanwhile. Of each partition the past is folded up to where the view stands; when hardly
anything is left, the view's owner is fenced, the rest is folded, and the families are exchanged in one step. The
owner then goes on from the same checkpoint with the rebuilt records. Nothing is sent a second time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace.rebuild.model import relearn_models
from headrace.rebuild.target import Ports, Target, opened, targets
from headrace.settings import Settings
from online.core.checkpoint import (
    STEP_VERSION,
    Checkpoint,
    by_topic,
    check_version,
    decode_checkpoint,
    encode_checkpoint,
)
from online.core.garbage import kept, latest, perishable
from online.core.item_stats import ItemStats, decode_item_stats
from online.core.partition import ITEM
from online.core.update import UPDATES, Update, encode_update
from online.ports import Fenced
from replay.refold import differing

BESIDE = "rebuild"  # the view under which rebuilt records are written beside the living ones
CHUNK = 1000  # records in one write
ATTEMPTS = 20  # at exchanging: the living owner may come back in between


def rebuild_views(
    settings: Settings, *, from_start: bool = False, models: bool = False, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Rebuild the state and catalogue views, and the models if wanted, also of a running system.

    Raises:
        SettingsError: there is no such data directory, or a service given by URL does not answer.
    """
    with opened(settings) as (ports, partitions):
        document = rebuild_all(ports, partitions, progress, from_start=from_start)
        if models:
            document["models"] = relearn_models(ports, partitions, progress)
            document["equal"] &= all(found["equal"] for found in document["models"].values())
    return document


def rebuild_all(
    ports: Ports, partitions: int, progress: Callable[[str], None], *, from_start: bool = False
) -> dict[str, Any]:
    """Rebuild every view over all its partitions.

    A partition of whose history something is missing, in the log and in the archive, stays as it is.
    """
    began, messages, folded, different, missing, fenced = time.monotonic(), 0, 0, 0, 0, 0.0
    for target in targets(partitions):
        rebuild = _Rebuild(ports, target, from_start=from_start)
        rebuild.run()
        messages += rebuild.refold.result.messages
        folded += rebuild.folded
        different += rebuild.different
        missing += rebuild.missing
        fenced = max(fenced, rebuild.fenced_s)
        said = f"left alone, {rebuild.missing} of its messages are neither logged nor archived"
        progress(f"{target.view} {target.partition}: {said if rebuild.missing else f'{rebuild.folded} messages'}")
    took = time.monotonic() - began
    return {
        "messages": messages,
        "messages_folded": folded,
        "messages_missing": missing,
        "took_s": round(took, 3),
        "events_per_s": round(folded / took, 1),
        "longest_fence_ms": round(fenced * 1000, 1),
        "records_different": different,
        "equal": different == 0 and missing == 0,
    }


class _Rebuild:
    """The rebuild of one partition of a view."""

    def __init__(self, ports: Ports, target: Target, *, from_start: bool) -> None:
        self._ports, self._target = ports, target
        self.refold = target.refold(ports, from_start=from_start)
        self._known = self.refold.result.messages
        self.different = self.missing = 0
        self.fenced_s = 0.0

    @property
    def folded(self) -> int:
        """How many messages were folded, those of the snapshot apart."""
        return self.refold.result.messages - self._known

    def run(self) -> None:
        """Fold, write beside, exchange, compare."""
        state, target = self._ports.state, self._target
        families = {family: f"{family}~{BESIDE}" for family in target.families}
        state.drop(BESIDE, target.partition, list(families.values()))
        self._advance(target.live(self._ports))
        owner = state.claim(BESIDE, target.partition).generation
        for family, records in self.refold.result.records.items():
            self._write(owner, family, records, list(records))
        for _ in range(ATTEMPTS):
            self._write_changed(owner, self._advance(target.live(self._ports)))
            try:
                if not self._exchange(owner, families):
                    return
                break
            except Fenced:  # its owner took it back before we were done
                continue
        else:
            raise Fenced(f"the owner of {target.view} {target.partition} came back {ATTEMPTS} times: stop its flow")
        for family, beside in families.items():
            replaced = dict(state.scan(target.partition, beside))
            rebuilt = self.refold.result.records[family]
            now = latest(family, rebuilt)
            self.different += differing(kept(family, rebuilt, now), kept(family, replaced, now))
        state.drop(BESIDE, target.partition, list(families.values()))

    def _advance(self, until: Checkpoint) -> Mapping[str, set[str]]:
        """Fold on; return the keys that changed, by family."""
        changed: dict[str, set[str]] = {family: set() for family in self._target.families}
        for folded in self.refold.advance(self._ports.log, self._ports.warehouse, until):
            for family, written in folded.writes.items():
                changed[family] |= written.keys()
        return changed

    def _write_changed(self, owner: int, changed: Mapping[str, set[str]]) -> None:
        for family, keys in changed.items():
            self._write(owner, family, self.refold.result.records[family], sorted(keys))

    def _write(self, owner: int, family: str, records: Mapping[str, bytes], keys: Sequence[str]) -> None:
        for at in range(0, len(keys), CHUNK):
            some = {key: records.get(key) for key in keys[at : at + CHUNK]}
            beside = f"{family}~{BESIDE}"
            garbage = {beside: perishable(family, some)}
            self._ports.state.commit(BESIDE, self._target.partition, owner, {beside: some}, b"", garbage)

    def _exchange(self, owner: int, families: Mapping[str, str]) -> bool:
        """Fence the view's owner, fold the rest and exchange the families; False when messages are missing."""
        state, log, target = self._ports.state, self._ports.log, self._target
        began = time.monotonic()
        claim = state.claim(target.view, target.partition)
        live = decode_checkpoint(claim.checkpoint)
        check_version(live)
        live.step_version = STEP_VERSION  # what is swapped in was folded by this program
        self._write_changed(owner, self._advance(live))
        self.missing = self.refold.result.lacking(live)
        if self.missing:
            return False
        after = self._told(live)
        state.swap(target.view, target.partition, claim.generation, families, encode_checkpoint(after))
        self.fenced_s = time.monotonic() - began
        for topic, messages in by_topic(after.outbox[len(live.outbox) :]).items():
            log.append(topic, messages)
        return True

    def _told(self, live: Checkpoint) -> Checkpoint:
        """Return the checkpoint after the exchange: it tells the API workers the item aggregates that differ."""
        if ITEM not in self._target.families:
            return live
        rebuilt = self.refold.result.records[ITEM]
        stood = dict(self._ports.state.scan(self._target.partition, ITEM))
        wrong = {key: decode_item_stats(value) for key, value in rebuilt.items() if stood.get(key) != value}
        wrong |= {key: ItemStats() for key in stood.keys() - rebuilt.keys()}
        if not wrong:
            return live
        seq = live.seq + 1
        update = encode_update(Update(self._target.partition, seq, wrong, []))
        outbox = [*live.outbox, (UPDATES, 0, update)]
        return Checkpoint(seq, live.positions, live.folded, outbox, live.step_version)
