-- Every proposal with a score, the best first.
SELECT proposal, rank, title, author, mean, low, high, seeds, fresh, state, origin, self_reported, also, violation, sealed, gap, stage, trial_s
FROM leaderboard
WHERE arena = '$arena'
ORDER BY rank
