-- Who held the arena, since when, and on what place of the log.
SELECT proposal, met, seq, epoch(since) AS time FROM champions WHERE arena = '$arena' ORDER BY reign
