-- What agents say of commits in notes, the latest first, beside what was measured.
SELECT
    seq, epoch(time) AS time, author, left(hash, 10) AS hash, proposal, claimed, measured, low, high, gap,
    left(platform, 60) AS platform, left(words, 300) AS words
FROM claims
WHERE arena = '$arena'
ORDER BY seq DESC
