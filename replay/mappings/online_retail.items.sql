-- Products under their upper-cased code, with the last price above 0 and the last description.
SELECT
    upper(trimBoth(toString(StockCode))) AS item_id,
    argMaxIf(round(toFloat64OrNull(toString(UnitPrice)), 2), (InvoiceDate, _row_number), UnitPrice > 0) AS price,
    map('title', argMaxIf(trimBoth(Description), (InvoiceDate, _row_number), UnitPrice > 0)) AS attributes
FROM file({file:String})
WHERE match(item_id, '[0-9]{4}')
GROUP BY item_id
ORDER BY item_id
