-- title: Online Retail II invoices (UCI)
-- aliases: online-retail
-- columns: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country
-- One event per invoice line; the session is the invoice. A line of a cancellation (number C…) takes a product back and
-- becomes remove_from_cart. Left out: lines that are no sale (quantity 0 or less on a plain invoice: stock corrections)
-- and codes without four digits (postage, fees, samples, adjustments). Without CustomerID the visitor is the invoice.
WITH
    startsWith(toString(InvoiceNo), 'C') AS cancels,
    upper(trimBoth(toString(StockCode))) AS code,
    toFloat64OrNull(toString(Quantity)) AS quantity,
    round(toFloat64OrNull(toString(UnitPrice)), 2) AS price
SELECT
    _row_number + 1 AS _row,
    if(cancels, 'remove_from_cart', 'purchase') AS event_type,
    concat('retail-', toString(InvoiceNo), '-', code, '-', toString(
        row_number() OVER (PARTITION BY InvoiceNo, code ORDER BY _row_number))) AS event_id,
    toString(CustomerID) AS user_id,
    if(CustomerID IS NULL, concat('invoice-', toString(InvoiceNo)), NULL) AS visitor_id,
    toString(InvoiceNo) AS session_id,
    [CAST((code, abs(quantity), price),
        'Tuple(item_id Nullable(String), quantity Nullable(Float64), price Nullable(Float64))')] AS items,
    if(cancels, NULL, round(quantity * price, 2)) AS value,
    toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull(toString(InvoiceDate))) / 1000. AS timestamp,
    'GBP' AS currency,
    map('country', Country) AS context
FROM file({file:String})
WHERE match(code, '[0-9]{4}') AND (cancels OR ifNull(quantity, 1) > 0)
ORDER BY timestamp, InvoiceNo, _row
