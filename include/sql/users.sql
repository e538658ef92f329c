-- The users who get recommendations, one row each. Must return:
--   user_id     the same ids as in interactions.sql
-- and the column that source.segment_column in recommender.yaml names, if it does. Other columns stay in the database.
-- Without this file the users are those of interactions.sql.
SELECT user_id
FROM users

-- Where each line of a table of orders has the customer's profile, one row for each customer who has rated something, with
-- a column for source.segment_column:
--
-- SELECT customer_no AS user_id, MAX(country) AS country
-- FROM orders
-- WHERE stars IS NOT NULL
-- GROUP BY customer_no
