-- The users who get recommendations, one row each. Must return:
--   user_id     the same ids as in interactions.sql
-- The name is a setting (source in recommender.yaml). Other columns are kept as text.
SELECT *
FROM users
