-- One row per run and number that its score program printed, the arena's metric among them.
CREATE OR REPLACE VIEW metrics AS
WITH measured AS (
    SELECT arena, run, seq, unnest(metrics) AS name, unnest(numbers) AS value, generate_subscripts(metrics, 1) AS place
    FROM internal.finished
)
SELECT m.arena, m.run, m.name, m.value, r.proposal, r.lane, r.seed, m.seq
FROM measured m
JOIN internal.requested r ON r.arena = m.arena AND r.run = m.run AND r.seq < m.seq
ORDER BY m.arena, m.seq, m.place;
