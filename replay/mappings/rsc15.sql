-- title: session clicks with a clock (SessionId, ItemId, Time), as of rsc15 and the Serenade example
-- aliases: serenade
-- columns: SessionId, ItemId, Time
-- A click is its session, item and second; equal rows are numbered, so that a file and its subsets agree on the ids.
SELECT
    _row_number + 1 AS _row,
    'click' AS event_type,
    concat('click-', toString(SessionId), '-', toString(ItemId), '-', toString(Time), '-', toString(
        row_number() OVER (PARTITION BY SessionId, ItemId, Time ORDER BY _row_number))) AS event_id,
    toString(SessionId) AS visitor_id,
    toString(SessionId) AS session_id,
    toString(ItemId) AS item_id,
    toFloat64OrNull(toString(Time)) AS timestamp
FROM file({file:String})
ORDER BY timestamp, SessionId, _row
