"""The embedded warehouse: one process that owns the chDB engine and serves ClickHouse's HTTP interface.

Run as `python -m headrace.warehouse.server --data-dir D --port P --key-file F`. It answers what clickhouse-connect,
curl and ordinary tools send: `/ping`; statements in `?query=`, in the body, or split over both; `default_format`
and FORMAT clauses; `param_*`; settings as parameters; `database`; inserts in any input format; lz4, zstd, gzip and
deflate in both directions; basic, header or parameter authentication; ClickHouse's codes in its errors.

The engine is not for concurrent use: one thread runs one statement after another, the others wait in a queue.
Each request gets an engine handle of its own (0.3 ms), so its settings cannot leak into the next one. Hence there
are no sessions: `session_id` is accepted, but SET and temporary tables last for one request.
"""
