-- One row per proposal and worker class with a score that ranks: what these scores say together.
CREATE OR REPLACE VIEW internal.class_standings AS
SELECT * FROM internal.scored s
WHERE NOT EXISTS (SELECT 1 FROM internal.scored n WHERE n.arena = s.arena AND n.previous = s.seq);
