-- The proposals that have a score, by the rule of `mesh/leaderboard.py`: the champion, then the rows of the ranking class,
-- in a class those with fresh scores by the worse bound of their interval (few seeds make a mean that luck has a share in),
-- then claims; best first in the arena's direction, equals in the order of the log. Where no row of an arena has an
-- interval, only means count. Proposals that violate a constraint come after them, and last those that a stage ended, with
-- the numbers of their worst run. Words are joined to the ranks at the end: sorting them with the numbers takes half as long again.
-- `is_end` is true of champion and baseline.
CREATE OR REPLACE VIEW internal.ranked AS
WITH latest AS (
    SELECT arena, arg_max(evaluator, coalesce(version, 0)) AS evaluator, arg_max(sign, coalesce(version, 0)) AS sign,
        arg_max(also, coalesce(version, 0)) AS also, arg_max(base_tree, coalesce(version, 0)) AS base_tree
    FROM internal.opened
    GROUP BY arena
),
broken AS MATERIALIZED (
    SELECT f.arena, r.proposal, f.seq AS run_seq, f.violation, f.infeasible_value, f.worker_class, f.self_reported,
        f.budget_used_s, a.sign, f.how, f.stage, f.stages_left, coalesce(f.stages_left, -1) AS missed
    FROM internal.finished f
    JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
    JOIN internal.proposed p ON p.arena = r.arena AND p.proposal = r.proposal AND p.seq < r.seq
    JOIN latest a ON a.arena = f.arena
    WHERE f.how IN ('infeasible', 'screened_out') AND r.lane <> 'sealed' AND r.audit IS NULL
        AND coalesce(nullif(f.evaluator, ''), r.evaluator) IN ('', a.evaluator)
        AND NOT EXISTS (
            SELECT 1 FROM internal.ruled_out o
            WHERE o.arena = f.arena AND o.proposal = r.proposal AND o.until_seq = 9223372036854775807)
    QUALIFY row_number() OVER (PARTITION BY f.arena, r.proposal ORDER BY missed DESC, f.violation DESC, f.seq) = 1
),
sealed AS (
    SELECT f.arena, r.proposal, sum(f.value ORDER BY f.seq) / count(*) AS sealed
    FROM internal.requested r
    JOIN internal.proposed p ON p.arena = r.arena AND p.proposal = r.proposal AND p.seq < r.seq
    JOIN internal.finished f ON f.arena = r.arena AND f.run = r.run AND f.seq > r.seq
    JOIN latest a ON a.arena = f.arena
    WHERE r.lane = 'sealed' AND f.value IS NOT NULL
        AND coalesce(nullif(f.evaluator, ''), r.evaluator) IN ('', a.evaluator)
    GROUP BY f.arena, r.proposal
),
reigning AS (
    SELECT arena, proposal FROM champions WHERE reigns
),
rated AS MATERIALIZED (
    SELECT s.arena, s.proposal, s.sign, s.mean, s.low, s.high, s.seeds, s.best, s.worst, s.trial_s, s.self_reported,
        s.fresh, s.claimed, s.worker_class, s.ranks, s.budget_used_s, b.violation, NULL::BIGINT AS run_seq,
        NULL::VARCHAR AS how, NULL::VARCHAR AS stage, NULL::BIGINT AS stages_left, NULL::BIGINT AS missed
    FROM internal.standings s
    LEFT JOIN broken b ON b.arena = s.arena AND b.proposal = s.proposal
    LEFT JOIN reigning c ON c.arena = s.arena AND c.proposal = s.proposal
    WHERE b.proposal IS NULL OR c.proposal IS NOT NULL
    UNION ALL
    SELECT b.arena, b.proposal, b.sign, b.infeasible_value, NULL, NULL, 1, NULL, NULL, NULL, b.self_reported,
        0, NULL, b.worker_class, false, b.budget_used_s, b.violation, b.run_seq,
        b.how, b.stage, b.stages_left, b.missed
    FROM broken b
    LEFT JOIN reigning c ON c.arena = b.arena AND c.proposal = b.proposal
    WHERE c.proposal IS NULL
),
bounds AS (
    SELECT arena, count(low) > 0 AS bounded FROM rated GROUP BY arena
),
known AS (
    SELECT m.*, v.seq, v.state, v.close, b.bounded, m.run_seq IS NOT NULL AS infeasible
    FROM rated m
    JOIN internal.verdicts v ON v.arena = m.arena AND v.proposal = m.proposal
    JOIN bounds b ON b.arena = m.arena
),
placed AS (
    SELECT
        *,
        CASE WHEN infeasible THEN 8
            ELSE 4 * (bounded AND state <> 'champion')::INTEGER + 2 * (bounded AND NOT ranks)::INTEGER
                + (bounded AND fresh = 0)::INTEGER END AS place,
        CASE WHEN infeasible THEN missed ELSE 0 END AS missed_by,
        CASE WHEN infeasible THEN violation ELSE -sign * coalesce(CASE WHEN sign > 0 THEN low ELSE high END, mean) END AS worth
    FROM known
),
ranks AS (
    SELECT arena, seq, row_number() OVER (PARTITION BY arena ORDER BY place, missed_by, worth, seq) AS rank FROM placed
),
ranked AS (
    SELECT k.*, r.rank, l.base_tree
    FROM known k
    JOIN ranks r ON r.arena = k.arena AND r.seq = k.seq
    JOIN latest l ON l.arena = k.arena
),
wanted AS (
    SELECT l.arena, unnest(l.also) AS name, generate_subscripts(l.also, 1) AS place FROM latest l
),
printed AS (
    SELECT f.arena, f.run, f.seq, unnest(f.metrics) AS name, unnest(f.numbers) AS number
    FROM internal.finished f
    WHERE f.metrics IS NOT NULL AND EXISTS (SELECT 1 FROM wanted w WHERE w.arena = f.arena)
),
counted AS (
    SELECT k.arena, k.proposal, p.name, p.number, p.seq
    FROM known k
    JOIN internal.scored s
        ON s.arena = k.arena AND s.proposal = k.proposal AND s.worker_class = k.worker_class AND (s.fresh OR k.fresh = 0)
    JOIN printed p ON p.arena = s.arena AND p.seq = s.seq
    WHERE NOT k.infeasible
    UNION ALL
    SELECT k.arena, k.proposal, p.name, p.number, p.seq
    FROM known k
    JOIN printed p ON p.arena = k.arena AND p.seq = k.run_seq
    WHERE k.infeasible
),
others AS (
    SELECT arena, proposal, map(list(name ORDER BY place), list(mean ORDER BY place)) AS also
    FROM (
        SELECT c.arena, c.proposal, c.name, w.place, sum(c.number ORDER BY c.seq) / count(*) AS mean
        FROM counted c
        JOIN wanted w ON w.arena = c.arena AND w.name = c.name
        GROUP BY ALL
    )
    GROUP BY ALL
)
SELECT
    r.arena, r.rank, r.proposal, p.title, p.author, r.mean, r.seeds, r.best, r.worst,
    CASE
        WHEN r.infeasible AND r.state NOT IN ('past_champion', 'demoted') THEN r.how
        WHEN r.close THEN 'close'
        WHEN r.state <> 'open' THEN r.state
        WHEN r.fresh > 0 THEN 'confirming'
        ELSE 'claimed'
    END AS state,
    p.origin, r.trial_s, r.self_reported, r.low, r.high, r.fresh, r.claimed, r.worker_class, r.budget_used_s,
    coalesce(o.also, MAP {}::MAP(VARCHAR, DOUBLE)) AS also, r.violation,
    CASE WHEN NOT r.infeasible THEN e.sealed END AS sealed,
    CASE WHEN NOT r.infeasible THEN r.sign * (r.mean - e.sealed) END AS gap,
    r.stage, r.stages_left, r.state = 'champion' OR r.proposal = r.base_tree AS is_end
FROM ranked r
JOIN internal.proposed p ON p.arena = r.arena AND p.seq = r.seq
LEFT JOIN sealed e ON e.arena = r.arena AND e.proposal = r.proposal
LEFT JOIN others o ON o.arena = r.arena AND o.proposal = r.proposal;
