-- title: Complete Journey grocery transactions (dunnhumby)
-- columns: household_id, store_id, basket_id, product_id, quantity, sales_value, week, transaction_timestamp
-- sibling products: products.parquet
-- One purchase per basket line; price is per unit. Lines of quantity 0 (coupons and returns at the till) are left out.
WITH
    toFloat64OrNull(toString(quantity)) AS amount,
    toFloat64OrNull(toString(sales_value)) AS sales
SELECT
    _row_number + 1 AS _row,
    'purchase' AS event_type,
    concat('journey-', toString(basket_id), '-', toString(src.product_id), '-', toString(
        row_number() OVER (PARTITION BY basket_id, src.product_id ORDER BY _row_number))) AS event_id,
    toString(household_id) AS user_id,
    toString(basket_id) AS session_id,
    [CAST((toString(src.product_id), amount, round(sales / amount, 4)),
        'Tuple(item_id Nullable(String), quantity Nullable(Float64), price Nullable(Float64))')] AS items,
    sales AS value,
    toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull(toString(transaction_timestamp))) / 1000. AS timestamp,
    'store' AS surface,
    'USD' AS currency,
    map('store', toString(store_id)) AS context,
    mapFilter((name, text) -> text IS NOT NULL, map(
        'department', products.department,
        'category', products.product_category,
        'brand', toString(products.brand))) AS properties
FROM file({file:String}) AS src
LEFT JOIN file({products:String}) AS products ON toString(src.product_id) = toString(products.product_id)
WHERE ifNull(amount, 1) > 0
ORDER BY timestamp, basket_id, _row
