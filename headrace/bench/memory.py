"""`headrace bench memory`: what an active user takes in the state store, and an item in a serving worker."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.bench.measure import headed, median, resident_mb
from headrace.bench.rig import Rig, rig
from headrace.bench.stream import Stream, messages
from headrace.verify.published import DIM, clustered
from online.adapters.file_artifacts import FileArtifacts
from online.adapters.redis_client import connect
from online.adapters.usearch_index import UsearchIndex, build_usearch
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.partition import EVENTS, USER, PartitionFold
from online.core.record import UserRecord, decode_record
from online.core.toplists import Toplists
from online.models.item_vectors import INDEX_FILE, MATRIX_FILE, served_files
from online.ports import Batch, Message
from online.vectors import read_vectors
from online.world import VECTORS
from schemas.event import Event

BATCH = 2000
MILLION = 1_000_000
MB = 1e6

METHOD = (
    "Users: visits of the stream (log-normal activity) are folded as the state flow folds them and committed to "
    "an embedded Valkey; bytes are its used_memory after minus before, keys and encoding included. record_fields: "
    "mean bytes of each field of an encoded record. Items: resident memory of this process before and after a "
    "worker's item table and toplists, then the ids of its vectors, are made; matrix and graph are mapped files and "
    "count with their size. Everything is scaled linearly to a million."
)


def memory(
    *,
    users: int = 50_000,
    events_per_user: int = 40,
    items: int = 100_000,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure users and items, each as many as given, and scale to a million.

    Args:
        users: active ones.
        events_per_user: on average.
        items: of the catalogue.
        seed: of stream and vectors.
        progress: told what is going on.
    """
    progress(f"a worker's {items} items")
    of_items = _items(items, seed)  # first: what the users' fold gives back would be taken again and not be counted
    progress(f"folding {users * events_per_user} events of {users} users")
    with rig() as own:
        of_users = _users(own, Stream(users=users, items=items, seed=seed), users * events_per_user)
    document = {"users": of_users, "items": of_items, "events_per_user": events_per_user}
    return headed(METHOD, users, document)


def _users(own: Rig, stream: Stream, n: int) -> dict[str, Any]:
    store = connect(own.settings.state, timeout_s=60.0)
    before = int(store.info("memory")["used_memory"])
    claims = {p: own.state.claim("bench", p).generation for p in range(own.partitions)}
    folds = {p: PartitionFold(p, partial(own.state.get_many, p)) for p in claims}
    for seq, batch in enumerate(_batches(stream.events(n), own.partitions), start=1):
        folded = folds[batch.partition].fold(batch, seq)
        writes = {USER: folded.writes[USER]}
        own.state.commit("bench", batch.partition, claims[batch.partition], writes, b"", folded.perishable)
    taken = int(store.info("memory")["used_memory"]) - before
    store.close()
    records = [payload for p in claims for _, payload in own.state.scan(p, USER)]
    sizes = [len(payload) for payload in records]
    return {
        "n": len(records),
        "bytes_per_user": round(taken / len(records)),
        "gib_per_million": round(taken / len(records) * MILLION / 2**30, 3),
        "record_bytes": round(sum(sizes) / len(sizes)),
        "record_bytes_median": median(sizes, 0),
        "record_bytes_p99": round(float(np.percentile(sizes, 99))),
        "record_fields": _fields(records),
    }


def _batches(events: Iterable[Event], partitions: int) -> Iterable[Batch]:
    """Yield the events as batches of one partition each."""
    waiting: dict[int, list[Message]] = {p: [] for p in range(partitions)}
    for number, (partition, payload) in enumerate(messages(events, partitions)):
        waiting[partition].append(Message(f"{number:020d}", payload))
        if len(waiting[partition]) == BATCH:
            yield Batch(EVENTS, partition, waiting[partition])
            waiting[partition] = []
    for partition, rest in waiting.items():
        if rest:
            yield Batch(EVENTS, partition, rest)


def _fields(records: Sequence[bytes]) -> dict[str, int]:
    """Return the mean bytes of each field that takes at least one percent, largest first."""
    sizes: Counter[str] = Counter()
    for payload in records[:: max(1, len(records) // 2000)]:
        record = decode_record(payload)
        for name in UserRecord.__struct_fields__:
            sizes[name] += len(msgspec.msgpack.encode(getattr(record, name)))
    n = len(records[:: max(1, len(records) // 2000)])
    return {name: round(size / n) for name, size in sizes.most_common() if size * 100 >= sizes.total()}


def _items(n: int, seed: int) -> dict[str, Any]:
    stream = Stream(users=1, items=n, seed=seed)
    before = resident_mb(os.getpid())
    table = ItemTable(partitions=8)
    for item in stream.catalogue(0.0):
        table.put(item)
    for number, item_id in enumerate(table.ids.names):
        table.put_statistics(number % 8, item_id, ItemStats(0.0, [1.0 + number] * table.halves, {}, 0.0, 0.0))
    toplists = Toplists(table, 1.0)
    of_table = resident_mb(os.getpid()) - before
    matrix = clustered(n, DIM, rng=np.random.default_rng(seed))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory:
        store = FileArtifacts(Path(directory))
        artifact = store.publish(VECTORS, served_files(table.ids.names, matrix, build_usearch), {})
        before = resident_mb(os.getpid())
        vectors = read_vectors(artifact, UsearchIndex.view)
        of_ids = resident_mb(os.getpid()) - before
        files = {name: artifact.files[name].stat().st_size for name in (MATRIX_FILE, INDEX_FILE)}
    total = of_table + of_ids + sum(files.values()) / MB
    scale = MILLION / n
    return {
        "n": len(vectors.ids),
        "toplists": len(toplists.popular.everybody),
        "mb_per_million": round(total * scale),
        "table_mb_per_million": round(of_table * scale),
        "ids_mb_per_million": round(of_ids * scale),
        "matrix_mb_per_million": round(files[MATRIX_FILE] / MB * scale),
        "graph_mb_per_million": round(files[INDEX_FILE] / MB * scale),
    }
