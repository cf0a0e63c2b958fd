from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from example_slate import example_slate

import flows.learn
from flows.artifact import ArtifactView
from flows.learn import LEARNED_FILE, PUBLISH_S, STATE_FILE, join_view, ranker_view, restored
from flows.log_source import TICK
from flows.view import build, run
from online.adapters.file_artifacts import FileArtifacts
from online.core.example import EXAMPLES, Example, decode_example, encode_example
from online.core.features import NAMES
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.core.ranker import read_ranker
from online.models.candidates import Candidates
from online.models.side_by_side import SIDE_BY_SIDE
from online.ports import START, Artifact, Batch
from online.world import RANKER, RANKER_FILE, served_ranker, served_rankers
from schemas.event import Event, EventItem, encode_event
from schemas.slate import Slate, encode_slate

T0 = 1_700_000_000.0
WINDOW = 600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def example(number: int) -> Example:
    rng = np.random.default_rng(number)
    features = rng.random((3, len(NAMES)), np.float32)
    clicked = [bool(c) for c in rng.random(3) < 0.4]
    return Example(f"r{number}", 0, "home", T0, "", list(NAMES), features.tobytes(), [1, 2, 3], clicked)


def append(log: Any, *numbers: int) -> None:
    log.port.append(EXAMPLES, [(0, encode_example(example(number))) for number in numbers])


def open_view(artifacts: FileArtifacts, clock: Clock) -> ArtifactView:
    view = ranker_view(artifacts=artifacts, clock=clock)
    view.adopt(0)
    return view


def read_all(view: ArtifactView, log: Any, chunk: int = 7) -> None:
    after = dict(view.positions())
    while batches := log.port.read(after, max_messages=chunk, wait_s=0.0):
        for batch in batches:
            view.step(batch)()
            after[batch.topic, batch.partition] = batch.messages[-1].position


def publish(view: ArtifactView, clock: Clock) -> None:
    clock.now += PUBLISH_S
    view.step(Batch(TICK, 0, []))()


def learned(*numbers: int) -> Candidates:
    ranker = Candidates()
    for number in numbers:
        ranker.learn_one(example(number))
    return ranker


def newest(artifacts: FileArtifacts) -> Artifact:
    artifact = artifacts.open(RANKER)
    assert artifact is not None
    return artifact


def damage(artifact: Artifact, file: str) -> None:
    content = bytearray(artifact.files[file].read_bytes())
    content[len(content) // 2] ^= 1
    artifact.files[file].write_bytes(bytes(content))


@pytest.fixture
def artifacts(tmp_path: Path) -> FileArtifacts:
    return FileArtifacts(tmp_path)


def test_examples_become_a_published_ranker(switched_log: Any, artifacts: FileArtifacts) -> None:
    append(switched_log, *range(40))
    clock = Clock()
    view = open_view(artifacts, clock)

    read_all(view, switched_log)
    publish(view, clock)

    artifact, expected = newest(artifacts), learned(*range(40))
    served = read_ranker(artifact.files[RANKER_FILE].read_bytes(), "1")
    assert served.weights.tolist() == expected.export("").weights.tolist()
    assert artifact.files[STATE_FILE].read_bytes() == expected.state()
    assert artifact.lineage["positions"] == {"examples/0": switched_log.port.extent(EXAMPLES, 0).last}
    assert (artifact.lineage["slates"], artifact.lineage["rows"]) == (40, 120)
    assert artifact.lineage["log_loss"] == expected.summary()["log_loss"]
    assert set(artifact.lineage["candidates"]) == set(SIDE_BY_SIDE)
    assert {name: ranker.weights.tolist() for name, ranker in served_rankers(artifact).items()} == {
        name: ranker.weights.tolist() for name, ranker in expected.exports("", SIDE_BY_SIDE).items()
    }
    root = served_ranker(artifact).root
    assert root is not None
    assert root.tolist() == np.asarray(expected.export("").root).tolist()


def test_a_ranker_is_published_now_and_then_and_only_when_something_was_learned(
    switched_log: Any, artifacts: FileArtifacts
) -> None:
    clock = Clock()
    view = open_view(artifacts, clock)
    publish(view, clock)
    assert artifacts.latest(RANKER) is None

    append(switched_log, *range(20))
    read_all(view, switched_log, chunk=1)
    assert artifacts.latest(RANKER) == 1
    publish(view, clock)
    assert artifacts.latest(RANKER) == 2
    publish(view, clock)
    assert artifacts.latest(RANKER) == 2


def test_a_restart_goes_on_from_the_positions_of_the_published_version(
    switched_log: Any, artifacts: FileArtifacts
) -> None:
    clock = Clock()
    append(switched_log, *range(30))
    view = open_view(artifacts, clock)
    read_all(view, switched_log)
    publish(view, clock)
    append(switched_log, *range(30, 45))
    read_all(view, switched_log)  # learned, and lost with the process

    reopened = open_view(artifacts, clock)
    assert reopened.positions()[EXAMPLES, 0] == newest(artifacts).lineage["positions"]["examples/0"]
    read_all(reopened, switched_log)
    publish(reopened, clock)

    assert newest(artifacts).files[STATE_FILE].read_bytes() == learned(*range(45)).state()


def test_examples_that_the_join_sends_again_are_learned_once(switched_log: Any, artifacts: FileArtifacts) -> None:
    clock = Clock()
    append(switched_log, *range(10), *range(4, 10))
    view = open_view(artifacts, clock)
    read_all(view, switched_log)
    publish(view, clock)
    append(switched_log, *range(8, 15))

    reopened = open_view(artifacts, clock)
    read_all(reopened, switched_log)
    publish(reopened, clock)

    assert newest(artifacts).files[STATE_FILE].read_bytes() == learned(*range(15)).state()


def test_what_is_remembered_of_learned_slates_is_bounded(
    switched_log: Any, artifacts: FileArtifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.learn, "LEARNED_SLATES", 12)
    clock = Clock()
    append(switched_log, *range(40))
    view = open_view(artifacts, clock)

    read_all(view, switched_log)
    publish(view, clock)

    assert newest(artifacts).files[LEARNED_FILE].read_bytes().count(b",") == 11


@pytest.mark.parametrize("file", [STATE_FILE, LEARNED_FILE, RANKER_FILE])
def test_a_damaged_newest_version_is_passed_over_and_learned_again(
    switched_log: Any, artifacts: FileArtifacts, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    view = open_view(artifacts, clock)
    for numbers in (range(20), range(20, 30)):
        append(switched_log, *numbers)
        read_all(view, switched_log)
        publish(view, clock)
    assert artifacts.latest(RANKER) == 3
    damage(newest(artifacts), file)

    reopened = open_view(artifacts, clock)
    read_all(reopened, switched_log)
    publish(reopened, clock)

    assert "passing over ranker 3" in caplog.text
    assert newest(artifacts).version == 5
    assert newest(artifacts).files[STATE_FILE].read_bytes() == learned(*range(30)).state()


def test_a_damaged_pointer_to_the_newest_version_means_learning_from_the_start(
    switched_log: Any, artifacts: FileArtifacts, tmp_path: Path
) -> None:
    clock = Clock()
    append(switched_log, *range(10))
    view = open_view(artifacts, clock)
    read_all(view, switched_log)
    publish(view, clock)
    (tmp_path / RANKER / "LATEST").write_bytes(b"?")

    reopened = open_view(artifacts, clock)
    assert reopened.positions()[EXAMPLES, 0] == START
    read_all(reopened, switched_log)
    publish(reopened, clock)

    assert newest(artifacts).files[STATE_FILE].read_bytes() == learned(*range(10)).state()


def test_the_one_learner_of_an_older_version_goes_on_as_the_active_candidate(artifacts: FileArtifacts) -> None:
    document = msgspec.json.decode(learned(*range(5)).learners["pointwise-1"].state())
    document |= {"weights": {"popularity": 3.0}, "slates": 5, "rows": 15}
    files = {"learner.json": msgspec.json.encode(document), LEARNED_FILE: b"[]"}
    older = artifacts.publish(RANKER, files, {"positions": {}}, after=0)

    model = restored(older)
    ranker = (model.files() or {})[RANKER_FILE]

    assert model.summary()["active"] == "pointwise-1"
    assert isinstance(ranker, bytes)
    assert read_ranker(ranker, "").weights[NAMES.index("popularity")] == 3.0


def test_who_serves_goes_on_until_another_is_named(switched_log: Any, artifacts: FileArtifacts) -> None:
    clock = Clock()
    append(switched_log, *range(10))
    for active in ("listwise-1", ""):
        view = ranker_view(artifacts=artifacts, clock=clock, active=active)
        view.adopt(0)
        read_all(view, switched_log)
        append(switched_log, *range(10, 20))
        publish(view, clock)
        assert newest(artifacts).lineage["active"] == "listwise-1"
        assert "ndcg_gain" in newest(artifacts).lineage["candidates"][SIDE_BY_SIDE[0]]

    with pytest.raises(ValueError, match="candidates for ranking are"):
        ranker_view(artifacts=artifacts, clock=clock, active="nobody")


def test_an_example_that_does_not_fit_is_passed_over(switched_log: Any, artifacts: FileArtifacts) -> None:
    clock = Clock()
    append(switched_log, 0)
    other = example(1)
    other.feature_names = ["other"]
    switched_log.port.append(EXAMPLES, [(0, b"?"), (0, encode_example(other))])
    append(switched_log, 2)
    view = open_view(artifacts, clock)

    read_all(view, switched_log)
    publish(view, clock)

    assert newest(artifacts).files[STATE_FILE].read_bytes() == learned(0, 2).state()


def slate(number: int, partition: int) -> Slate:
    features = np.random.default_rng(number).random((4, len(NAMES)), np.float32)
    return example_slate(
        recommendation_id=f"r{number}",
        partition=partition,
        user_key=f"u{number}",
        time=T0 + number * 1000.0,
        n=4,
        candidates=["a", "b", "c", "d"],
        feature_names=list(NAMES),
        features=features.tobytes(),
        utilities=np.zeros(4).tobytes(),
        eligible=np.ones(4, np.uint8).tobytes(),
        slots=[3, 2, 1, 0],
        propensities=[0.25] * 4,
    )


def happen(log: Any, numbers: range) -> None:
    """Serve slates; each one's user clicks the second slot; then the windows of all pass."""
    for number in numbers:
        log.port.append(SLATES, [(number % 2, encode_slate(slate(number, number % 2)))])
        log.port.append(EVENTS, [(number % 2, click(number, T0 + number * 1000.0 + 1, "c"))])
    for partition in (0, 1):
        log.port.append(EVENTS, [(partition, click(-1, T0 + numbers[-1] * 1000.0 + WINDOW + 1, "z"))])


def click(user: int, at: float, item: str) -> bytes:
    event = Event(
        event_id=f"{user}-{at}", event_type="click", timestamp=at, received_at=at, user_id=str(user),
        items=[EventItem(item)],
    )  # fmt: skip
    return encode_event(event)


def run_flow(log: Any, state: Any, artifacts: FileArtifacts, clock: Clock) -> None:
    """Run the learn flow twice: the second run reads the examples that the first one's join has sent."""
    for _ in range(2):
        clock.now += PUBLISH_S
        views = [
            join_view(state=state, log=log, partitions=2, window_s=WINDOW),
            ranker_view(artifacts=artifacts, clock=clock),
        ]
        run(build("learn", views, lambda: log, stop_at_head=True))


def test_slates_and_clicks_become_a_published_ranker(
    switched_log: Any, switched_state: Any, artifacts: FileArtifacts
) -> None:
    clock = Clock()
    happen(switched_log, range(20))
    run_flow(switched_log, switched_state, artifacts, clock)
    happen(switched_log, range(20, 50))
    run_flow(switched_log, switched_state, artifacts, clock)

    (batch,) = switched_log.port.read({(EXAMPLES, 0): START}, max_messages=1000, wait_s=0.0)
    examples = [decode_example(message.payload) for message in batch.messages]
    assert {one.recommendation_id for one in examples} == {f"r{number}" for number in range(50)}
    assert all((one.positions, one.clicked) == ([1, 2], [False, True]) for one in examples)
    lineage = newest(artifacts).lineage
    assert (lineage["slates"], lineage["rows"], lineage["clicks"]) == (50, 100, 50)


def test_of_two_owners_the_first_to_publish_goes_on_and_the_other_starts_again_behind_it(
    switched_log: Any, artifacts: FileArtifacts
) -> None:
    clock = Clock()
    append(switched_log, *range(10))
    zombie, owner = open_view(artifacts, clock), open_view(artifacts, clock)
    read_all(zombie, switched_log, chunk=100)
    assert newest(artifacts).version == 1

    read_all(owner, switched_log, chunk=100)  # it opened the store before that
    assert (set(zombie.adopted), set(owner.adopted)) == ({0}, set())
    owner.adopt(0)
    append(switched_log, 10)
    read_all(owner, switched_log, chunk=100)

    assert newest(artifacts).files[STATE_FILE].read_bytes() == learned(*range(11)).state()
    append(switched_log, 11)
    clock.now += PUBLISH_S
    read_all(zombie, switched_log, chunk=100)
    assert set(zombie.adopted) == set()
    assert newest(artifacts).version == 2


def test_a_model_that_is_given_up_is_published_with_all_it_has_learned(
    switched_log: Any, artifacts: FileArtifacts
) -> None:
    clock = Clock()
    append(switched_log, *range(20))
    view = open_view(artifacts, clock)
    read_all(view, switched_log, chunk=1)
    assert newest(artifacts).lineage["slates"] == 1

    view.release(0)

    assert newest(artifacts).lineage["slates"] == 20
    assert view.positions() == {}
