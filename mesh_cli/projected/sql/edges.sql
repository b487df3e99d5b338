-- Every proposal with its parents, in the order of the log.
SELECT list(list_prepend(proposal, parents) ORDER BY seq) FROM internal.proposed WHERE arena = {arena}
