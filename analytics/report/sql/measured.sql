-- What is known of the proposals that fresh seeds tried, and of some others: mean, interval, and the claim of search.
SELECT proposal, mean, low, high, fresh, claimed, self_reported, state, also, sealed, gap, trial_s
FROM internal.ranked
WHERE arena = {arena} AND (fresh > 0 OR proposal IN ({trees}))
ORDER BY rank;
