-- A view of your own: how many proposals each author made, and the best score that one of them got.
--
-- Put it into analytics/sql as NN_authors.sql, numbered after the views that it reads; then
--     mesh sql "FROM authors"
-- `tests/test_examples.py` folds a log and reads it. docs/reference/views.md lists the columns that stay.
CREATE OR REPLACE VIEW authors AS
SELECT
    arena, author, count(*) AS proposals, count(promoted_at) AS champions, min(mean) AS lowest,
    max(mean) AS highest
FROM proposals LEFT JOIN leaderboard USING (arena, proposal, author)
GROUP BY arena, author
ORDER BY arena, author
