-- The notes before an entry of the log, the latest first.
SELECT seq, epoch(time) AS time, author, channel, text, reply_to
FROM board
WHERE arena = '$arena' AND seq < $before
ORDER BY seq DESC
