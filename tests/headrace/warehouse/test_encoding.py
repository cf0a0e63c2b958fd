from __future__ import annotations

import gzip

import pytest

from headrace.warehouse.encoding import decompressed
from headrace.warehouse.errors import QueryError


def test_frames_in_a_row_are_decompressed() -> None:
    assert decompressed(gzip.compress(b"ab") + gzip.compress(b"c"), "gzip", 3) == b"abc"


@pytest.mark.parametrize(
    ("data", "encoding", "code"),
    [
        (gzip.compress(bytes(10_000_000), mtime=0), "gzip", 229),
        (gzip.compress(b"abc", mtime=0)[:-4], "gzip", 271),
        (b"not compressed", "lz4", 271),
        (b"not compressed", "zstd", 271),
        (b"x", "rot13", 48),
    ],
)
def test_bombs_damaged_and_unknown_encodings_are_refused(data: bytes, encoding: str, code: int) -> None:
    with pytest.raises(QueryError) as error:
        decompressed(data, encoding, 1_000_000)
    assert error.value.code == code
