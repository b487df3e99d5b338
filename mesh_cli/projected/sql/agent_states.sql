-- The states of an agent's proposals, in the words of the leaderboard.
SELECT coalesce(r.state, CASE WHEN v.state = 'retired' AND v.close THEN 'close' ELSE v.state END) AS word, count(*) AS count
FROM internal.verdicts v
LEFT JOIN internal.ranked r ON r.arena = v.arena AND r.proposal = v.proposal
WHERE v.arena = {arena} AND v.author = {author}
GROUP BY word
