from __future__ import annotations

from pathlib import Path

import pytest

from headrace.verify.published import DAMAGES, Damage, Edition, publish_damaged
from online.adapters.file_artifacts import FileArtifacts
from online.adapters.usearch_index import UsearchIndex
from online.ports import CorruptArtifact
from online.vectors import Vectors, read_vectors
from online.world import VECTORS

IDS = [f"i{n}" for n in range(300)]


def test_a_sound_edition_opens_and_no_two_give_the_same_scores(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path / "artifacts")
    one, other = Edition(IDS, 1), Edition(IDS, 2)

    store.publish(VECTORS, one.files, {})
    vectors = opened(store)

    assert list(vectors.ids) == one.ids != other.ids
    assert (vectors.matrix == one.matrix).all()
    assert abs(float((one.matrix * other.matrix).sum(axis=1).mean())) < 0.1


def opened(store: FileArtifacts) -> Vectors:
    artifact = store.open(VECTORS)
    assert artifact is not None
    return read_vectors(artifact, UsearchIndex.view)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_edition_is_the_newest_and_is_not_opened(tmp_path: Path, damage: Damage) -> None:
    store = FileArtifacts(tmp_path / "artifacts")
    edition = Edition(IDS, 1)
    store.publish(VECTORS, edition.files, {})
    kept = store.open(VECTORS)
    assert kept is not None

    publish_damaged(tmp_path / "artifacts", edition.files, damage)

    assert store.latest(VECTORS) == store.newest(VECTORS) == 2
    with pytest.raises((CorruptArtifact, ValueError)):
        opened(store)
    assert store.open(VECTORS, 1) == kept
    assert store.publish(VECTORS, edition.files, {}).version == 3
