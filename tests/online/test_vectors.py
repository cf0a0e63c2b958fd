from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from online.adapters.exact_index import ExactIndex
from online.core.record import UserRecord
from online.models.item_vectors import IDS_FILE, INDEX_FILE, MATRIX_FILE
from online.ports import Artifact
from online.vectors import Vectors, read_vectors


def vectors(*rows: list[float]) -> Vectors:
    return of(np.array(rows, np.float32), [chr(ord("a") + i) for i in range(len(rows))])


def of(matrix: NDArray[np.float32], ids: list[str]) -> Vectors:
    labels = {item: i for i, item in enumerate(ids)}
    return Vectors(1, ids, matrix, labels, ExactIndex(matrix, np.arange(len(matrix))))


def liking(**affinities: float) -> UserRecord:
    record = UserRecord()
    record.affinities[0] = {item: [0.0, weight, 9.0] for item, weight in affinities.items()}
    return record


def direction(given: Vectors, session: list[str], record: UserRecord | None = None) -> NDArray[np.float32]:
    found = given.query(record or UserRecord(), session)
    assert found is not None
    assert np.linalg.norm(found) == pytest.approx(1.0)
    assert found.dtype == np.float32
    return found


def test_the_query_of_one_item_is_its_vector() -> None:
    assert direction(vectors([1.0, 0.0], [0.0, 1.0]), ["b"]).tolist() == [0.0, 1.0]


def test_later_items_of_the_session_weigh_more() -> None:
    found = direction(vectors([1.0, 0.0], [0.0, 1.0]), ["a", "unknown", "b"])

    assert found[1] / found[0] == pytest.approx(2**0.5)


def test_a_profile_weighs_items_by_their_affinity_and_leads_away_from_what_is_disliked() -> None:
    given = vectors([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])

    found = direction(given, [], liking(a=3e30, b=1e30, c=-2e30, unknown=1e33))

    assert found / found[1] == pytest.approx([3.0, 1.0, -2.0])


def test_the_more_the_session_holds_the_less_the_profile_counts() -> None:
    given = vectors([1.0, 0.0], [0.0, 1.0])

    first, fourth = (direction(given, ["a"] * n, liking(b=5.0)) for n in (1, 4))

    assert first[1] / first[0] == pytest.approx(1 / 2)
    assert fourth[1] / fourth[0] == pytest.approx(1 / 8)


def test_what_is_unknown_or_cancels_out_has_no_direction() -> None:
    opposite = vectors([1.0, 0.0], [-(2.0**-0.5), 0.0])

    for session, record in (
        (["x"], UserRecord()), ([], UserRecord()), ([], liking(x=1.0)), (["a", "b"], UserRecord()), ([], liking(a=0.0)),
    ):  # fmt: skip
        assert opposite.query(record, session) is None
    assert direction(opposite, ["a", "b"], liking(a=1.0)).tolist() == [1.0, 0.0]


def test_session_and_profile_together_find_more_of_what_comes_next_than_either_alone() -> None:
    """Users like two of 40 groups of items; sessions are mostly of one of them, and a fifth of all clicks is noise."""
    rng = np.random.default_rng(3)
    groups, members, users = 40, 25, 600
    rows = np.repeat(rng.standard_normal((groups, 32)), members, axis=0)
    rows = rows + 0.7 * rng.standard_normal(rows.shape)
    matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    given = of(matrix, [str(i) for i in range(len(matrix))])

    def clicks(group: int, n: int) -> list[str]:
        stray = rng.random(n) < 0.2
        return [
            str(i)
            for i in np.where(stray, rng.integers(len(matrix), size=n), group * members + rng.integers(members, size=n))
        ]

    hits = np.zeros(3)
    for _ in range(users):
        one, other = rng.choice(groups, 2, replace=False)
        meant = int(rng.choice([one, other, rng.integers(groups)], p=[0.4, 0.4, 0.2]))
        session, wanted = clicks(meant, 2), meant * members + int(rng.integers(members))
        profile = liking(**dict.fromkeys(clicks(one, 15) + clicks(other, 15), 1.0))
        queries = (direction(given, session, profile), direction(given, session), direction(given, [], profile))
        hits += [wanted in given.nearest.search(query, 50)[0] for query in queries]

    both, session_alone, profile_alone = hits / users
    assert both > session_alone + 0.02
    assert both > profile_alone + 0.1


def artifact(directory: Path, matrix: NDArray[np.float32], ids: bytes, index: NDArray[np.float32]) -> Artifact:
    files = {}
    for name, content in ((INDEX_FILE, npy(index)), (MATRIX_FILE, npy(matrix)), (IDS_FILE, ids)):
        files[name] = directory / name
        files[name].write_bytes(content)
    return Artifact("vectors", 7, files, {})


def npy(matrix: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    return buffer.getvalue()


def view(path: Path) -> ExactIndex:
    matrix = np.load(path, allow_pickle=False)
    return ExactIndex(matrix, np.arange(len(matrix), dtype=np.int64))


def test_vectors_are_read_from_an_artifact(tmp_path: Path) -> None:
    matrix = np.eye(3, dtype=np.float32)

    read = read_vectors(artifact(tmp_path, matrix, b'["x","y","z"]', matrix), view)

    assert (read.version, list(read.ids), read.labels["z"]) == (7, ["x", "y", "z"], 2)
    labels, cosines = read.nearest.search(np.array([0.0, 1.0, 0.0], np.float32), 1)
    assert (labels.tolist(), cosines.tolist()) == ([1], [1.0])


@pytest.mark.parametrize(("ids", "rows", "indexed"), [(b'["x"]', 2, 2), (b'["x","y"]', 3, 2), (b'["x","y"]', 2, 1)])
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, ids: bytes, rows: int, indexed: int) -> None:
    given = artifact(tmp_path, np.eye(rows, 3, dtype=np.float32), ids, np.eye(indexed, 3, dtype=np.float32))

    with pytest.raises(ValueError, match="do not belong together"):
        read_vectors(given, view)
