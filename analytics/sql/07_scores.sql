-- The scores that rank: of runs under the evaluator in force, with the sign that makes greater better.
CREATE OR REPLACE VIEW scores AS
SELECT r.arena, r.proposal, r.run, r.lane, r.seed, r.value, a.sign, r.worker_class, r.finished_at, r.finished_seq,
    r.trial_s, r.self_reported
FROM runs r
JOIN arenas a USING (arena)
WHERE r.value IS NOT NULL AND r.evaluator IN ('', a.evaluator);
