-- title: MovieLens ratings (ratings.csv of ml-latest-small and its kin)
-- aliases: ml-latest-small
-- columns: userId, movieId, rating, timestamp
SELECT
    _row_number + 1 AS _row,
    'rating' AS event_type,
    concat('ml-', toString(userId), '-', toString(movieId), '-', toString(src.timestamp)) AS event_id,
    toString(userId) AS user_id,
    toString(movieId) AS item_id,
    toFloat64OrNull(toString(rating)) AS value,
    toFloat64OrNull(toString(src.timestamp)) AS timestamp
FROM file({file:String}) AS src
ORDER BY timestamp, userId, _row
