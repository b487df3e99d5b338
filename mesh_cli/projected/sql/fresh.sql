-- The fresh scores of proposals, which prove something; `posted` is the entry of the proposal, `asked` that of the request.
SELECT s.proposal, p.seq AS posted, s.asked_seq AS asked, s.worker_class, s.seed::VARCHAR AS seed, s.value
FROM internal.scored s
JOIN internal.proposed p ON p.arena = s.arena AND p.proposal = s.proposal
WHERE s.arena = {arena} AND s.fresh
