-- The first proposals that nobody built on: by mean, the best first, then those without any score.
SELECT p.proposal, p.parents, row_number() OVER (ORDER BY r.mean IS NULL, -o.sign * r.mean, p.seq) AS place
FROM internal.proposed p
LEFT JOIN internal.ranked r ON r.arena = p.arena AND r.proposal = p.proposal
CROSS JOIN (SELECT arg_max(sign, coalesce(version, 0)) AS sign FROM internal.opened WHERE arena = {arena}) o
WHERE p.arena = {arena}
    AND p.proposal NOT IN (SELECT unnest(parents) FROM internal.proposed WHERE arena = {arena} AND len(parents) > 0)
QUALIFY place <= {count}
