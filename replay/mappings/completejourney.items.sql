-- sibling products: products.parquet
-- The brand is the maker: the column `brand` only tells national from private labels, which becomes a tag.
SELECT
    toString(product_id) AS item_id,
    arrayFilter(name -> name IS NOT NULL, [department, product_category]) AS categories,
    [lower(toString(products.brand))] AS tags,
    concat('maker ', toString(manufacturer_id)) AS brand,
    price,
    mapFilter((name, text) -> text IS NOT NULL, map(
        'title', ifNull(product_type, product_category), 'package_size', package_size)) AS attributes
FROM file({products:String}) AS products
LEFT JOIN (
    SELECT toString(product_id) AS sold_id, round(quantileExact(0.5)(sales_value / quantity), 4) AS price
    FROM file({file:String})
    WHERE quantity > 0
    GROUP BY sold_id
) AS sold ON sold_id = item_id
ORDER BY item_id
SETTINGS join_use_nulls = 1
