-- Who rated what, and when. Must return, in any order:
--   user_id     any type that has a text: numbers, text, UUID, RAW
--   product_id  likewise
--   rating      a number that says how much the user likes the product: see below
--   ordered_at  when, in UTC: a timestamp, a date, ISO 8601 text or seconds since 1970
--               (Oracle, TIMESTAMP WITH TIME ZONE: SYS_EXTRACT_UTC(ordered_at) AS ordered_at)
-- The names are settings (source in recommender.yaml). Other columns stay in the database. Sorting is added.
--
-- :since is a bind variable (source.parameters): null for everything, or a text such as 2026-01-31.
-- PostgreSQL infers its type from the comparison, which must therefore come first.
SELECT user_id, product_id, rating, ordered_at
FROM interactions
WHERE (ordered_at >= :since OR :since IS NULL)

-- A table of orders has a row for each purchase. Rows of one user and one product become one row while they are read:
-- source.repeated says how, by default the latest one that has a rating. So a table with stars in some of its lines needs:
--
-- SELECT customer_no AS user_id, article_no AS product_id, stars AS rating, ordered_at
-- FROM orders
-- WHERE stars IS NOT NULL AND (ordered_at >= :since OR :since IS NULL)
--
-- users.sql and items.sql may be removed: then users and items are those of this query.
--
-- Without stars, how often somebody bought a product says how much, here from 1 to 5. The same rating for every purchase
-- would rank nothing, and the data gate rejects it.
--
-- SELECT user_id, product_id, CASE WHEN COUNT(*) < 5 THEN COUNT(*) ELSE 5 END AS rating, MAX(ordered_at) AS ordered_at
-- FROM orders
-- WHERE (ordered_at >= :since OR :since IS NULL)
-- GROUP BY user_id, product_id
