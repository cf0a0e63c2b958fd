-- The hotels shown, with the median of the prices they were shown at.
SELECT
    item AS item_id,
    quantileExact(0.5)(toFloat64OrNull(price)) AS price
FROM file({file:String})
ARRAY JOIN
    splitByChar('|', ifNull(impressions, '')) AS item,
    arrayResize(splitByChar('|', ifNull(prices, '')), length(splitByChar('|', ifNull(impressions, '')))) AS price
WHERE item != ''
GROUP BY item
ORDER BY item
