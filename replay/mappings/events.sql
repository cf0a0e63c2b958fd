-- title: our own events (the fields of POST /v1/events as columns)
-- columns: event_type, timestamp
-- NDJSON of the same fields is read line by line without the engine, so that an error names its line.
SELECT *, _row_number + 1 AS _row
FROM file({file:String})
ORDER BY timestamp, _row
