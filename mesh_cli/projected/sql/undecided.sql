-- The proposals without a verdict, among which one has its place in the queue.
SELECT proposal FROM internal.verdicts WHERE arena = {arena} AND state = 'open'
