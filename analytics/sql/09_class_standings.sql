-- One row per proposal and worker class with a score that ranks: what these scores say together.
CREATE OR REPLACE VIEW class_standings AS
SELECT * FROM scored s
WHERE NOT EXISTS (SELECT 1 FROM scored n WHERE n.arena = s.arena AND n.previous = s.seq);
