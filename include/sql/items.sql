-- The catalogue: everything that may be recommended, one row each. Must return:
--   product_id  the same ids as in interactions.sql
--   title       what people read beside the id; may be left out
-- The names are settings (source in recommender.yaml). Other columns stay in the database. Add a WHERE to exclude what
-- the shop no longer sells. Without this file the items are those of interactions.sql.
SELECT product_id, title
FROM products

-- Where the titles are in the lines of a table of orders:
--
-- SELECT article_no AS product_id, MAX(article) AS title
-- FROM orders
-- WHERE stars IS NOT NULL
-- GROUP BY article_no
