-- One row per agent that joined, and per guest, who proposes or criticises through a door and never joins: what it is, what
-- it did, and what its proposals earned: by how much their results went beyond the best before them (improvement, in units
-- of the metric), and that per second their runs took a worker. Of an explorer `shares` tells of each sampler with what
-- probability it was drawn at first and last, and what its proposals earned per second of a worker:
-- `tpe 0.12 -> 0.31 (0.002/s)`, the greatest of the last first. The median staleness is that of its proposals (view
-- `proposals`).
CREATE OR REPLACE VIEW agents AS
WITH lives AS (
    SELECT
        j.arena, j.author AS agent, count(*) AS lives, arg_max(l.seq IS NULL, j.seq) AS here,
        arg_max(j.body->>'$.role', j.seq) AS role, arg_max(j.body->>'$.model', j.seq) AS model,
        arg_max(j.body->>'$.host', j.seq) AS host, min(j.time) AS joined_at, max(l.time) AS left_at
    FROM internal.facts j
    LEFT JOIN internal.facts l ON l.kind = 'agent.left' AND l.arena = j.arena AND l.key = j.key AND l.seq > j.seq
    WHERE j.kind = 'agent.joined'
    GROUP BY ALL
),
spoke AS (
    SELECT arena, author AS agent, seq, time, origin AS how, origin_name AS name
    FROM internal.proposed
    WHERE origin <> 'baseline'
    UNION ALL
    SELECT arena, author, seq, time, NULL, NULL FROM internal.criticised
),
guests AS (
    SELECT
        arena, agent, arg_max(how, seq) FILTER (how IS NOT NULL) AS how, min(time) AS joined_at,
        arg_max(name, seq) FILTER (how = 'model' AND replace(name, '.', '_') <> agent) AS model
    FROM spoke
    ANTI JOIN lives USING (arena, agent)
    GROUP BY ALL
),
known AS (
    SELECT arena, agent, lives, CASE WHEN here THEN 'here' ELSE 'left' END AS state, role, model, host, joined_at, left_at
    FROM lives
    UNION ALL
    SELECT
        arena, agent, 0, 'guest',
        CASE WHEN how IS NULL THEN 'critic' WHEN how = 'human' THEN 'person' ELSE 'agent' END, model, NULL, joined_at, NULL
    FROM guests
),
did AS (
    SELECT
        arena, author AS agent, count(*) AS posts, max(time) AS last_at,
        count(*) FILTER (kind = 'proposal.posted') AS proposals,
        count(*) FILTER (kind = 'critique.posted') AS critiques,
        count(*) FILTER (kind = 'run.requested') AS runs_requested,
        count(*) FILTER (kind = 'note.posted') AS notes
    FROM internal.facts
    GROUP BY ALL
),
late AS (
    SELECT arena, author AS agent, median(staleness) AS median_staleness FROM proposals GROUP BY ALL
),
won AS (
    SELECT p.arena, p.author AS agent, count(*) AS promoted
    FROM internal.verdicts p
    WHERE p.state IN ('champion', 'past_champion')
    GROUP BY ALL
),
earned AS (
    SELECT arena, author AS agent, sum(gain ORDER BY seq) AS improvement
    FROM internal.best_scores
    WHERE gain IS NOT NULL
    GROUP BY ALL
),
used AS (
    SELECT arena, author AS agent, sum(trial_s ORDER BY finished_seq) AS worker_s
    FROM runs
    WHERE finished_seq IS NOT NULL AND lane = 'explore'
    GROUP BY ALL
),
gained AS (
    SELECT arena, proposal, sum(gain ORDER BY seq) AS gain FROM internal.best_scores WHERE gain IS NOT NULL GROUP BY ALL
),
ran AS (
    SELECT arena, proposal, sum(trial_s ORDER BY finished_seq) AS worker_s
    FROM runs
    WHERE lane = 'explore' AND finished_seq IS NOT NULL
    GROUP BY ALL
),
drawn AS (
    SELECT
        p.arena, p.author AS agent, p.origin_name AS sampler,
        arg_min(p.share, p.seq) AS first, arg_max(p.share, p.seq) AS last,
        sum(coalesce(g.gain, 0) ORDER BY p.seq) / nullif(sum(coalesce(r.worker_s, 0) ORDER BY p.seq), 0) AS earned_per_s
    FROM proposals p
    LEFT JOIN gained g USING (arena, proposal)
    LEFT JOIN ran r USING (arena, proposal)
    WHERE p.share IS NOT NULL
    GROUP BY ALL
),
moved AS (
    SELECT
        arena, agent,
        string_agg(
            format('{} {:.2f} -> {:.2f}', sampler, first, last) || coalesce(format(' ({:.3g}/s)', earned_per_s), ''),
            ', ' ORDER BY last DESC, sampler) AS shares
    FROM drawn
    GROUP BY ALL
)
SELECT
    l.arena, l.agent, l.role, l.model, l.host, l.lives, l.state,
    l.joined_at, l.left_at, d.last_at, d.posts, d.proposals, coalesce(w.promoted, 0) AS promoted, d.critiques,
    d.runs_requested, d.notes, coalesce(e.improvement, 0) AS improvement, coalesce(u.worker_s, 0) AS worker_s,
    coalesce(e.improvement, 0) / nullif(u.worker_s, 0) AS earned_per_s, m.shares, t.median_staleness
FROM known l
JOIN did d USING (arena, agent)
LEFT JOIN won w USING (arena, agent)
LEFT JOIN earned e USING (arena, agent)
LEFT JOIN used u USING (arena, agent)
LEFT JOIN moved m USING (arena, agent)
LEFT JOIN late t USING (arena, agent)
ORDER BY l.arena, l.agent;
