-- The users who get recommendations, one row each. Must return:
--   user_id     the same ids as in interactions.sql
-- and the column that source.segment_column in recommender.yaml names, if it does. Other columns stay in the database.
-- Without this file the users are those of interactions.sql.
SELECT user_id
FROM users
