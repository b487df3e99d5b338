-- The proposals that have a score, in their order (`internal.ranked`).
CREATE OR REPLACE VIEW leaderboard AS
SELECT * EXCLUDE (is_end) FROM internal.ranked ORDER BY arena, rank;
