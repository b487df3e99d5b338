-- The first rows of the leaderboard, and those of other proposals.
SELECT {columns} FROM leaderboard
WHERE arena = {arena} AND (rank <= {first} OR proposal IN (SELECT proposal FROM ({others})))
