from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flows.blend import blend_view
from flows.learn import ranker_view
from flows.view import adopt_all
from headrace.verify.joined import compare_artifacts, compare_join, unlogged
from headrace.verify.outcome import Outcome
from headrace.verify.witness import Seen
from online.adapters.file_artifacts import FileArtifacts
from online.core.example import EXAMPLES, decode_example, encode_example
from online.core.join import OPEN_SLATE, SLATES
from online.core.update import UPDATES, decode_update, encode_update
from online.ports import Batch, Message
from online.world import BLEND, RANKER, RANKER_FILE

PARTITIONS, WINDOW_S = 2, 60.0


def compared(run: Any, seen: Seen | None = None) -> Outcome:
    outcome = Outcome()
    compare_join(outcome, run.seen if seen is None else seen, run.state, PARTITIONS, WINDOW_S)
    return outcome


def with_examples(run: Any, payloads: list[bytes]) -> Seen:
    return {**run.seen, (EXAMPLES, 0): [Message(f"{i:09d}", payload) for i, payload in enumerate(payloads)]}


def examples(run: Any) -> list[bytes]:
    return [message.payload for message in run.seen[EXAMPLES, 0]]


def test_an_honest_join_is_correct(run: Any) -> None:
    outcome = compared(run)

    assert outcome.is_correct, outcome
    assert outcome.examples == 4
    assert sum(len(dict(run.state.scan(p, OPEN_SLATE))) for p in range(PARTITIONS)) == 4 + 2 + PARTITIONS


def test_an_example_sent_again_after_a_kill_is_no_difference(run: Any) -> None:
    assert compared(run, with_examples(run, [*examples(run), examples(run)[0]])).is_correct


def test_an_example_that_was_never_sent_is_found(run: Any) -> None:
    assert compared(run, with_examples(run, examples(run)[1:])).examples_different == 1


def test_a_second_example_of_a_slate_that_says_something_else_is_found(run: Any) -> None:
    first = decode_example(examples(run)[0])
    other = msgspec.structs.replace(first, clicked=[not clicked for clicked in first.clicked])

    assert compared(run, with_examples(run, [*examples(run), encode_example(other)])).examples_different == 1


@pytest.mark.parametrize("value", [None, b"\x90"])
def test_a_wrong_or_missing_open_slate_is_found(run: Any, value: bytes | None) -> None:
    partition = next(p for p in range(PARTITIONS) if "r5" in dict(run.state.scan(p, OPEN_SLATE)))
    run.overwrite(partition, OPEN_SLATE, "r5", value)

    assert compared(run).open_slates_different == 1


def test_an_answered_slate_that_is_not_logged_is_found(run: Any) -> None:
    position = next(message.position for p in range(PARTITIONS) for message in run.seen[SLATES, p])

    assert unlogged(run.seen, run.answered) == set()
    assert len(unlogged(run.without(SLATES, position), run.answered)) >= 1


@pytest.fixture
def artifacts(tmp_path: Path, run: Any) -> FileArtifacts:
    """A ranker and a blend that were killed between their first and second batch; the blend reads the first again."""
    store = FileArtifacts(tmp_path)
    messages, updates = list(run.seen[EXAMPLES, 0]), list(run.seen[UPDATES, 0])
    for some in (messages[:2], messages[2:]):
        (view,) = adopt_all([ranker_view(artifacts=store, clock=lambda: 1e9)])
        view.step(Batch(EXAMPLES, 0, some))()
    for some in (updates[: len(updates) // 2], updates):
        (view,) = adopt_all([blend_view(artifacts=store, clock=lambda: 1e9)])
        view.step(Batch(UPDATES, 0, some))()
    return store


def compared_artifacts(run: Any, artifacts: FileArtifacts, seen: Seen | None = None) -> Outcome:
    outcome = Outcome()
    compare_artifacts(outcome, run.seen if seen is None else seen, artifacts)
    return outcome


def test_a_ranker_that_learned_each_example_once_is_correct(run: Any, artifacts: FileArtifacts) -> None:
    assert artifacts.latest(RANKER) == 2
    assert compared_artifacts(run, artifacts).is_correct


def test_a_ranker_that_missed_an_example_is_found(run: Any, artifacts: FileArtifacts) -> None:
    example = decode_example(examples(run)[0])
    missed = [encode_example(msgspec.structs.replace(example, recommendation_id=f"m{random.random()}"))]

    assert compared_artifacts(run, artifacts, with_examples(run, missed + examples(run))).ranker_different > 0


def test_a_blend_that_missed_an_update_is_found(run: Any, artifacts: FileArtifacts) -> None:
    touched = next(m for m in run.seen[UPDATES, 0] if decode_update(m.payload).touches)
    more = msgspec.structs.replace(decode_update(touched.payload), seq=10**6)
    seen = {**run.seen, (UPDATES, 0): [Message("", encode_update(more)), *run.seen[UPDATES, 0]]}

    assert artifacts.latest(BLEND) == 2
    assert compared_artifacts(run, artifacts, seen).blend_different == 1


def test_a_damaged_version_is_found(run: Any, artifacts: FileArtifacts, tmp_path: Path) -> None:
    (tmp_path / RANKER / "1" / RANKER_FILE).write_bytes(b"{}")

    assert compared_artifacts(run, artifacts).artifacts_damaged == 1
