-- One row per agent that joined: what it is, what it did, and what its proposals earned: by how much their results went
-- beyond the best before them (improvement, in units of the metric), and that per second their runs took a worker.
CREATE OR REPLACE VIEW agents AS
WITH lives AS (
    SELECT
        j.arena, j.author AS agent, count(*) AS lives, count(l.seq) AS ended,
        arg_max(j.body->>'$.role', j.seq) AS role, arg_max(j.body->>'$.model', j.seq) AS model,
        arg_max(j.body->>'$.host', j.seq) AS host, min(j.time) AS joined_at, max(l.time) AS left_at
    FROM facts j
    LEFT JOIN facts l ON l.kind = 'agent.left' AND l.arena = j.arena AND l.key = j.key AND l.seq > j.seq
    WHERE j.kind = 'agent.joined'
    GROUP BY ALL
),
did AS (
    SELECT
        arena, author AS agent, count(*) AS posts, max(time) AS last_at,
        count(*) FILTER (kind = 'proposal.posted') AS proposals,
        count(*) FILTER (kind = 'critique.posted') AS critiques,
        count(*) FILTER (kind = 'run.requested') AS runs_requested,
        count(*) FILTER (kind = 'note.posted') AS notes
    FROM facts
    GROUP BY ALL
),
won AS (
    SELECT p.arena, p.author AS agent, count(*) AS promoted
    FROM verdicts p
    WHERE p.state IN ('champion', 'past_champion')
    GROUP BY ALL
),
earned AS (
    SELECT arena, author AS agent, sum(gain ORDER BY seq) AS improvement
    FROM frontier
    WHERE gain IS NOT NULL
    GROUP BY ALL
),
used AS (
    SELECT arena, author AS agent, sum(trial_s ORDER BY finished_seq) AS worker_s
    FROM runs
    WHERE finished_seq IS NOT NULL AND lane = 'explore'
    GROUP BY ALL
)
SELECT
    l.arena, l.agent, l.role, l.model, l.host, l.lives, CASE WHEN l.ended < l.lives THEN 'here' ELSE 'left' END AS state,
    l.joined_at, l.left_at, d.last_at, d.posts, d.proposals, coalesce(w.promoted, 0) AS promoted, d.critiques,
    d.runs_requested, d.notes, coalesce(e.improvement, 0) AS improvement, coalesce(u.worker_s, 0) AS worker_s,
    coalesce(e.improvement, 0) / nullif(u.worker_s, 0) AS earned_per_s
FROM lives l
JOIN did d USING (arena, agent)
LEFT JOIN won w USING (arena, agent)
LEFT JOIN earned e USING (arena, agent)
LEFT JOIN used u USING (arena, agent)
ORDER BY l.arena, l.agent;
