-- One row per arena and worker class with a score: the noise by which the curator decides and the leaderboard draws
-- intervals (`mesh/evidence.py`). It is the standard deviation of fresh scores of one proposal over its seeds, pooled over
-- proposals: since the last promotion, and of the champion, where that gives 10 degrees of freedom, else of all; of the
-- class, else of all classes. `t975` is the quantile of Student's t that bounds a two-sided 95 % interval.
CREATE OR REPLACE VIEW internal.noise_in_force AS
WITH several AS (
    SELECT DISTINCT s.arena, s.worker_class, s.proposal
    FROM internal.scored s
    JOIN champions c ON c.reigns AND c.arena = s.arena
    WHERE s.proven_count > 1 AND s.fresh AND (s.asked_seq >= c.seq OR s.proposal = c.proposal)
),
since AS (
    SELECT
        s.arena, s.worker_class, count(*) - 1 AS dof, var_pop(s.value ORDER BY s.seq) * count(*) AS squares,
        max(s.seq) AS seq
    FROM internal.scored s
    JOIN several USING (arena, worker_class, proposal)
    JOIN champions c ON c.reigns AND c.arena = s.arena
    WHERE s.fresh AND (s.asked_seq >= c.seq OR s.proposal = c.proposal)
    GROUP BY s.arena, s.worker_class, s.proposal
),
of_class AS (
    SELECT arena, worker_class, true AS recent, sum(squares ORDER BY seq) AS squares, sum(dof) AS dof
    FROM since
    GROUP BY ALL
    HAVING sum(dof) > 0
    UNION ALL
    SELECT arena, worker_class, false, sum(squares_added ORDER BY seq), count(*)
    FROM internal.scored
    WHERE fresh AND proven_count > 1
    GROUP BY ALL
),
of_all AS (
    SELECT arena, recent, sum(squares ORDER BY worker_class) AS squares, sum(dof) AS dof FROM of_class GROUP BY ALL
),
found AS (
    SELECT
        k.arena, k.worker_class, a.recent,
        sqrt(coalesce(o.squares / o.dof, a.squares / a.dof)) AS sd, coalesce(o.dof, a.dof) AS dof
    FROM (SELECT DISTINCT arena, worker_class FROM internal.scored) k
    JOIN of_all a ON a.arena = k.arena
    LEFT JOIN of_class o ON o.arena = k.arena AND o.worker_class = k.worker_class AND o.recent = a.recent
),
chosen AS (
    SELECT arena, worker_class, sd, dof::BIGINT AS dof
    FROM found
    WHERE NOT recent OR dof >= 10
    QUALIFY row_number() OVER (PARTITION BY arena, worker_class ORDER BY recent DESC) = 1
)
-- Beyond the table: Abramowitz and Stegun, 26.7.5, in powers of the normal quantile.
SELECT
    c.arena, c.worker_class, c.sd, c.dof,
    coalesce(
        t.t975,
        1.959963984540054 + 2.372271230298562 / c.dof + 2.8224986157396112 / c.dof ** 2
        + 2.555849679507722 / c.dof ** 3 + 1.5895340533938225 / c.dof ** 4) AS t975
FROM chosen c
LEFT JOIN internal.student_t t ON t.dof = c.dof;
