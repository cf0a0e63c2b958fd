-- sibling movies: movies.csv
SELECT
    toString(movieId) AS item_id,
    arrayFilter(genre -> genre != '(no genres listed)', splitByChar('|', genres)) AS categories,
    map('title', title) AS attributes
FROM file({movies:String})
ORDER BY movieId
