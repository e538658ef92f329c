-- Who rated (or bought, or watched) what, and when. Must return, in any order:
--   user_id     any type that has a text: numbers, text, UUID, RAW
--   product_id  likewise
--   rating      a number; use 1 AS rating for plain purchases or clicks
--   ordered_at  when, in UTC: a timestamp, a date, ISO 8601 text or seconds since 1970
--               (Oracle, TIMESTAMP WITH TIME ZONE: SYS_EXTRACT_UTC(ordered_at) AS ordered_at)
-- The names are settings (source in recommender.yaml). Other columns are left out. Sorting is added.
--
-- :since is a bind variable (source.parameters): null for everything, or a text such as 2026-01-31.
-- PostgreSQL infers its type from the comparison, which must therefore come first.
SELECT user_id, product_id, rating, ordered_at
FROM interactions
WHERE (ordered_at >= :since OR :since IS NULL)
