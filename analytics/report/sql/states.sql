-- What became of the proposals.
SELECT state, coalesce(why, ''), count(*)
FROM internal.verdicts
WHERE arena = {arena}
GROUP BY ALL
ORDER BY count(*) DESC, 1, 2;
