"""Compare the join of slates and outcomes, and what was learned from it, with a single pass over the log."""

from __future__ import annotations

from collections.abc import Sequence

from flows import blend, learn
from headrace.verify.oracle import JoinOracle
from headrace.verify.outcome import Outcome
from headrace.verify.witness import Seen
from online.core.example import EXAMPLES, decode_example, example_id
from online.core.join import OPEN_SLATE, SLATES
from online.core.partition import EVENTS
from online.core.ranker import largest_difference, read_ranker
from online.core.update import UPDATES
from online.models.session_blend import BLEND_FILE
from online.ports import ArtifactStore, Batch, CorruptArtifact, Message, StateStore
from online.world import BLEND, RANKER, RANKER_FILE, VECTORS
from replay.refold import differing
from schemas.slate import decode_slate

WEIGHT_TOLERANCE = 1e-9  # of the ranker's: the same examples in the same order


def compare_join(outcome: Outcome, seen: Seen, state: StateStore, partitions: int, window_s: float) -> None:
    """Fill in how many open slates and examples differ. An example sent twice is one, if both are the same."""
    expected: dict[str, bytes] = {}
    for partition in range(partitions):
        oracle = JoinOracle(partition, window_s=window_s)
        for topic in (SLATES, EVENTS):
            oracle.fold(topic, seen[topic, partition])
        expected |= oracle.examples
        outcome.open_slates_different += differing(oracle.open, dict(state.scan(partition, OPEN_SLATE)))
    sent: dict[str, set[bytes]] = {}
    for message in seen[EXAMPLES, 0]:
        sent.setdefault(example_id(decode_example(message.payload)), set()).add(message.payload)
    outcome.examples = len(expected)
    outcome.examples_different = differing({key: {payload} for key, payload in expected.items()}, sent)


def unlogged(seen: Seen, answered: Sequence[str]) -> set[str]:
    """Return the recommendations that were answered and whose slates are not in the log."""
    logged = {
        decode_slate(message.payload).recommendation_id
        for (topic, _), messages in seen.items()
        if topic == SLATES
        for message in messages
    }
    return set(answered) - logged


def compare_artifacts(outcome: Outcome, seen: Seen, artifacts: ArtifactStore) -> None:
    """Fill in which of the versions kept do not open, and whether ranker and blend are what the log makes."""
    for name in (RANKER, VECTORS, BLEND):
        newest = artifacts.newest(name)
        for version in range(1, newest + 1):
            try:
                artifacts.open(name, version)
            except CorruptArtifact:
                outcome.artifacts_damaged += 1
        outcome.artifacts_damaged += (artifacts.latest(name) or 0) > newest
    outcome.ranker_different = _ranker_different(seen[EXAMPLES, 0], artifacts)
    outcome.blend_different = _blend_different(seen[UPDATES, 0], artifacts)


def _ranker_different(examples: Sequence[Message], artifacts: ArtifactStore) -> int:
    running = artifacts.open(RANKER)
    if running is None:
        return int(bool(examples))
    until = running.lineage["positions"][f"{EXAMPLES}/0"]
    learned = [message for message in examples if message.position <= until]
    model = learn.restored(None, running.lineage["active"])
    model.fold(Batch(EXAMPLES, 0, learned))
    anew = (model.files() or {})[RANKER_FILE]
    assert isinstance(anew, bytes)
    live = read_ranker(running.files[RANKER_FILE].read_bytes(), "live")
    apart = largest_difference(live, read_ranker(anew, "anew"))
    is_same = model.summary()["slates"] == running.lineage["slates"]
    return int(apart > WEIGHT_TOLERANCE) + (not is_same)


def _blend_different(updates: Sequence[Message], artifacts: ArtifactStore) -> int:
    """Compare every byte: the same updates in the same order, whoever learned them."""
    running = artifacts.open(BLEND)
    if running is None:
        return int(bool(updates))
    until = running.lineage["positions"][f"{UPDATES}/0"]
    model = blend.restored(None)
    model.fold(Batch(UPDATES, 0, [message for message in updates if message.position <= until]))
    return int(running.files[BLEND_FILE].read_bytes() != model.files()[BLEND_FILE])
