-- The champions, since when, and by which entry of the log.
SELECT proposal, met, seq, epoch(since) AS time FROM champions WHERE arena = '$arena' ORDER BY reign
