-- The catalogue: everything that may be recommended, one row each. Must return:
--   product_id  the same ids as in interactions.sql
-- The name is a setting (source in recommender.yaml). Other columns, such as title and category, are
-- kept as text. Add a WHERE to exclude what the shop no longer sells.
SELECT *
FROM products
