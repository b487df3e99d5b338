-- Proposals by the entries that posted them.
SELECT proposal FROM internal.proposed WHERE arena = {arena} AND seq IN ({seqs})
