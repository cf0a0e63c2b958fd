-- title: yoochoose clicks without a clock (session, pos, item)
-- columns: session, pos, item
-- Session numbers give the order of the sessions and `pos` the order within one. There is no clock: sessions start 60 s
-- apart and click every 10 s, so that they interleave and test follows train. No figure in seconds may rest on this.
SELECT
    _row_number + 1 AS _row,
    'click' AS event_type,
    concat('yoochoose-', toString(session), '-', toString(pos)) AS event_id,
    toString(session) AS visitor_id,
    toString(session) AS session_id,
    toString(item) AS item_id,
    1396310400. + 60. * toInt64OrNull(toString(session)) + 10. * toInt64OrNull(toString(pos)) AS timestamp
FROM file({file:String})
ORDER BY timestamp, toInt64OrNull(session_id)
