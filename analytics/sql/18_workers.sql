-- One row per worker that joined: what it is and how its runs ended. It is here until its last life leaves; that it was
-- killed the log does not know.
CREATE OR REPLACE VIEW workers AS
WITH lives AS (
    SELECT
        j.arena, j.author AS worker, count(*) AS lives, arg_max(l.seq IS NULL, j.seq) AS here,
        arg_max(j.body->>'$.worker_class', j.seq) AS worker_class, arg_max(j.body->>'$.device', j.seq) AS device,
        arg_max(try_cast(j.body->>'$.slots' AS BIGINT), j.seq) AS slots, arg_max(j.body->>'$.tier', j.seq) AS tier,
        arg_max(j.body->>'$.host', j.seq) AS host,
        arg_max(try_cast(j.body->>'$.price_per_hour_usd' AS DOUBLE), j.seq) AS price_per_hour_usd,
        min(j.time) AS joined_at, max(l.time) AS left_at,
        arg_max(nullif(j.body->>'$.provider', ''), j.seq) AS provider,
        arg_max(nullif(j.body->>'$.instance', ''), j.seq) AS instance,
        arg_max(coalesce(try_cast(j.body->>'$.spot' AS BOOLEAN), false), j.seq) AS spot,
        arg_max(nullif(j.body->>'$.price_source', ''), j.seq) AS price_source
    FROM internal.facts j
    LEFT JOIN internal.facts l ON l.kind = 'worker.left' AND l.arena = j.arena AND l.key = j.key AND l.seq > j.seq
    WHERE j.kind = 'worker.joined'
    GROUP BY ALL
),
did AS (
    SELECT
        arena, worker, count(*) AS runs,
        count(*) FILTER (state = 'scored') AS scored, count(*) FILTER (state = 'failed') AS failed,
        count(*) FILTER (state = 'killed') AS stopped,
        count(*) FILTER (state = 'running') AS running, sum(trial_s ORDER BY finished_seq) AS trial_s, max(finished_at) AS last_at
    FROM runs
    GROUP BY ALL
)
SELECT
    l.arena, l.worker, l.worker_class, l.device, l.slots, l.tier, l.host, l.price_per_hour_usd, l.lives,
    CASE WHEN l.here THEN 'here' ELSE 'left' END AS state, l.joined_at, l.left_at, d.last_at,
    coalesce(d.runs, 0) AS runs, coalesce(d.scored, 0) AS scored, coalesce(d.failed, 0) AS failed,
    coalesce(d.running, 0) AS running, coalesce(d.trial_s, 0) AS trial_s, coalesce(d.stopped, 0) AS stopped,
    l.provider, l.instance, l.spot, l.price_source
FROM lives l
LEFT JOIN did d USING (arena, worker)
ORDER BY l.arena, l.worker;
