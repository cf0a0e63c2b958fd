from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from headrace.bench.ann import RECALL, ann
from headrace.bench.contender import CONTENDERS
from headrace.cli import application


def test_ann_compares_graphs_at_equal_recall() -> None:
    figures = ann(items=1500, dim=16, queries=20, repeats=1, only=["bf16 16", "served"])

    for kind in ("clustered", "noise"):
        assert figures[kind].keys() == {"usearch bf16 16", "usearch served"}
        for graph in figures[kind].values():
            assert graph["is_reached"]
            assert graph["recall"] >= RECALL
            assert min(graph[name] for name in ("us", "file_mb", "open_ms", "width")) > 0


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name.startswith("usearch")])
def test_every_usearch_graph_finds_what_is_nearest(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    vectors = np.random.default_rng(1).standard_normal((400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    built = CONTENDERS[name](vectors, tmp_path_factory.mktemp("graph"))

    hits = [built.search(vector, 10, 100)[0] == row for row, vector in enumerate(vectors[:50])]
    assert np.mean(hits) > 0.9
    assert len(built.search(vectors[0], 10, 100)) == 10


def test_a_name_that_nothing_has_is_refused() -> None:
    answer = CliRunner().invoke(application(), ["bench", "ann", "--only", "annoy"])

    assert answer.exit_code == 2
    assert "annoy" in answer.output
