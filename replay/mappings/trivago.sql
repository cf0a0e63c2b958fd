-- title: trivago hotel search (RecSys Challenge 2019 session logs)
-- columns: user_id, session_id, timestamp, step, action_type, reference, platform, city, device, current_filters, impressions, prices
-- A click-out becomes two events: an impression of the list shown, in its order with its prices, and a click on the hotel
-- chosen from it. Looking at a hotel (its images, rating, info, deals, or a search for it by name) is a view, a
-- search for a place is a search, and filters, sorting and looks at an unnamed hotel are custom events without item.
WITH rows AS (
    SELECT
        src.*,
        _row_number + 1 AS _row,
        row_number() OVER (PARTITION BY src.session_id, src.step ORDER BY _row_number) AS repeat,
        (action_type LIKE 'interaction item%' OR action_type = 'search for item') AND reference != 'unknown' AS looks,
        action_type = 'clickout item' AS leaves,
        arrayMap(
            (item, price, place) -> CAST((item, place, toFloat64OrNull(price)),
                'Tuple(item_id String, position UInt16, price Nullable(Float64))'),
            splitByChar('|', ifNull(impressions, '')) AS shown,
            arrayResize(splitByChar('|', ifNull(prices, '')), length(shown)),
            arrayEnumerate(shown)) AS slate
    FROM file({file:String}) AS src
)
SELECT
    _row,
    kind AS event_type,
    concat('trivago-', session_id, '-', toString(step), '-', toString(repeat), '-', kind) AS event_id,
    user_id,
    session_id,
    if(looks, reference, NULL) AS item_id,
    multiIf(
        kind = 'impression', slate,
        kind = 'click', arrayFilter(entry -> entry.item_id = reference, slate),
        []) AS items,
    toFloat64OrNull(toString(rows.timestamp)) AS timestamp,
    'search' AS surface,
    map('device', device, 'platform', platform, 'city', city) AS context,
    mapFilter((name, value) -> value IS NOT NULL, map(
        'action', action_type,
        'query', if(kind = 'search', reference, NULL),
        'choice', if(kind = 'custom', reference, NULL),
        'filters', current_filters)) AS properties
FROM rows
ARRAY JOIN multiIf(
    leaves, ['impression', 'click'],
    looks, ['view'],
    action_type LIKE 'search for%', ['search'],
    ['custom']) AS kind
ORDER BY timestamp, user_id, session_id, step, _row, kind = 'click'
