-- The first rows of the leaderboard, and other ones.
SELECT {columns} FROM internal.ranked
WHERE arena = {arena} AND (rank <= {first} OR {others})
