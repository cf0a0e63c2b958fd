"""Compression of request and response bodies, by HTTP's content codings."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import lz4.frame
from backports import zstd

from headrace.warehouse.errors import CANNOT_DECOMPRESS, NOT_IMPLEMENTED, QUERY_IS_TOO_LARGE, QueryError

_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {  # in ClickHouse's order of preference
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": partial(gzip.compress, compresslevel=3),
    "deflate": partial(zlib.compress, level=3),
}
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": partial(zlib.decompressobj, wbits=31),
    "deflate": zlib.decompressobj,
}


def preferred(accepted: str) -> str | None:
    """Return the coding that suits an Accept-Encoding header best, None if we have none of them.

    >>> preferred("gzip, deflate, br")
    'gzip'
    """
    return next((encoding for encoding in _COMPRESSORS if encoding in accepted), None)


def compressed(data: bytes, encoding: str) -> bytes:
    """Return a body in one of the codings that `preferred` returns.

    >>> gzip.decompress(compressed(b"ab", "gzip"))
    b'ab'
    """
    return _COMPRESSORS[encoding](data)


def decompressed(data: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its Content-Encoding; clickhouse-connect sends each block as a frame of its own.

    >>> decompressed(gzip.compress(b"a") + gzip.compress(b"b"), "gzip", 10)
    b'ab'

    Raises:
        QueryError: the encoding is unknown, the data are damaged, or they are more than `limit` bytes.
    """
    if encoding in ("", "identity"):
        return data
    if encoding not in _DECOMPRESSORS:
        raise QueryError(NOT_IMPLEMENTED, "this Content-Encoding is not implemented: use lz4, zstd or gzip")
    out = bytearray()
    while data:
        frame = _DECOMPRESSORS[encoding]()
        try:
            out += frame.decompress(data, limit + 1 - len(out))
        except (RuntimeError, zstd.ZstdError, zlib.error) as error:
            raise QueryError(CANNOT_DECOMPRESS, f"Cannot decompress: {error}") from error
        if len(out) > limit:
            raise QueryError(QUERY_IS_TOO_LARGE, f"the decompressed body is larger than {limit} bytes")
        if not frame.eof:
            raise QueryError(CANNOT_DECOMPRESS, "Cannot decompress: the data end early")
        data = frame.unused_data
    return bytes(out)
