from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from example_rows import planted_examples

from flows.learn import ranker_view
from headrace.cli import main
from headrace.keys import load_keys, prepare_data_dir
from online.adapters.file_artifacts import FileArtifacts
from online.connect import open_state
from online.core.control import CONTROL_ENTRY, CONTROL_VIEW, ControlEntry, changed, encode_entry
from online.core.example import EXAMPLES, encode_example
from online.core.features import NAMES
from online.models.side_by_side import SIDE_BY_SIDE
from online.ports import Batch, Message
from schemas.control import ControlChange

Run = Callable[..., tuple[int, str, str]]
N = 30


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `headrace models` on an empty data directory; return exit status, stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    data_dir = prepare_data_dir(tmp_path / "data")
    load_keys(data_dir)  # as a system that once ran there has left it

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headrace", "models", *words, "--data-dir", str(data_dir)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def learned(run: Run, tmp_path: Path) -> Run:
    """The same, when some slates were learned and published there."""
    view = ranker_view(artifacts=FileArtifacts(tmp_path / "data" / "artifacts"), clock=lambda: 7e8)
    view.adopt(0)
    examples = [msgspec.structs.replace(one, uniform=[1.0] * 8, device="phone") for one in planted_examples(N)]
    messages = [Message(f"{i:09d}", encode_example(one)) for i, one in enumerate(examples)]
    view.step(Batch(EXAMPLES, 0, messages))()
    return run


def test_list_tells_how_candidates_compare_and_up_to_where_they_have_learned(learned: Run) -> None:
    status, out, err = learned("list", "--json")

    assert (status, err) == (0, "")
    document = json.loads(out)
    assert (document["version"], document["active"], document["slates"]) == (1, SIDE_BY_SIDE[0], N)
    assert document["lineage"] == {"positions": {"examples/0": f"{N - 1:09d}"}, "published_at": 7e8}
    assert list(document["candidates"]) == list(SIDE_BY_SIDE)
    assert document["candidates"]["listwise-1"]["ndcg_gain_lower"] < 0.0
    assert document["candidates"]["listwise-1"]["promotable"] is False
    assert "promotable" not in document["candidates"][SIDE_BY_SIDE[0]]
    assert {"log_loss", "auc", "ndcg"} < set(document["baselines"]["popularity"])
    assert document["examination"]["home/phone"]["uniform_clicks"] == pytest.approx(document["clicks"], rel=0.01)
    curve = document["examination"]["home/phone"]["curve"]
    assert (len(curve), curve[0]) == (10, 1.0)
    assert curve[0] > curve[7] > 0.0


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_show_tells_hyper_parameters_and_weights(learned: Run, name: str) -> None:
    status, out, err = learned("show", name, "--json")

    assert (status, err) == (0, "")
    document = json.loads(out)
    assert (document["name"], document["is_active"]) == (name, name == SIDE_BY_SIDE[0])
    assert set(document["weights"]) == set(NAMES)
    assert document["config"]["intercept_rate"] == 0.02
    assert document["figures"]["slates"] == N


def test_for_a_person_both_are_tables(learned: Run) -> None:
    assert "promotable" in learned("list")[1]
    assert "learning_rate" in learned("show", "listwise-1")[1]


@pytest.mark.parametrize(("words", "hint"), [(("list",), "no ranker"), (("show", "listwise-1"), "no ranker")])
def test_where_nothing_was_learned_that_is_said_in_one_line(run: Run, words: tuple[str, ...], hint: str) -> None:
    status, out, err = run(*words, "--json")

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert hint in err


def test_a_candidate_there_is_none_of_is_told_with_those_there_are(learned: Run) -> None:
    status, _, err = learned("show", "nobody")

    assert status == 2
    assert "pointwise-1" in err


def test_what_an_operator_made_active_is_told_as_far_as_the_state_store_says_it(
    learned: Run, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("HEADRACE_STATE", url)
    state = open_state(url)
    change = ControlChange(kind="model", id="ranker", revision=1, document={"candidate": "pairwise-1"})
    written = {CONTROL_ENTRY: {"model/ranker": encode_entry(changed(ControlEntry(), change))}}
    state.commit(CONTROL_VIEW, 0, state.claim(CONTROL_VIEW, 0).generation, written, b"")
    state.close()

    document = json.loads(learned("list", "--json")[1])

    assert (document["active"], document["compared_with"]) == ("pairwise-1", SIDE_BY_SIDE[0])
    assert json.loads(learned("show", "pairwise-1", "--json")[1])["is_active"] is True
