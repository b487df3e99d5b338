-- All that may wait for proof, and what it is weighed against: proposals that no verdict ended, those that a new version
-- or evaluator may bring back, those whose changes they put back, and all with runs that prove.
WITH open_ones AS (
    SELECT proposal, origin_name, parents FROM internal.proposed p
    WHERE arena = {arena}
        AND NOT EXISTS (
            SELECT 1 FROM internal.judged j
            WHERE j.arena = p.arena AND j.proposal = p.proposal AND j.verdict = 'retired' AND j.why <> 'demoted' AND j.seq > p.seq)
        AND proposal NOT IN (SELECT proposal FROM champions WHERE arena = {arena})
),
ruled AS (
    SELECT proposal FROM internal.ruled_out WHERE arena = {arena}
),
in_force AS (
    SELECT arg_max(evaluator, coalesce(version, 0)) AS evaluator FROM internal.opened WHERE arena = {arena}
)
SELECT proposal FROM open_ones
UNION SELECT unnest(parents) FROM open_ones WHERE origin_name = {put_back}
UNION SELECT proposal FROM internal.requested WHERE arena = {arena} AND lane IN ('confirm', 'control')
UNION SELECT proposal FROM ruled
UNION SELECT proposal FROM internal.judged WHERE arena = {arena} AND met IN (SELECT proposal FROM ruled)
UNION SELECT r.proposal
    FROM internal.requested r
    LEFT JOIN internal.finished f ON f.arena = r.arena AND f.run = r.run
    WHERE r.arena = {arena}
        AND coalesce(nullif(f.evaluator, ''), r.evaluator) <> (SELECT evaluator FROM in_force)
        AND r.proposal IN (SELECT proposal FROM internal.scored WHERE arena = {arena})
