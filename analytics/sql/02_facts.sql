-- The facts that count: of several with one key the first in the log; a critique counts once per critic.
CREATE OR REPLACE VIEW internal.facts AS
SELECT arena, seq, time, posted_at, id, author, kind, key, cause, body FROM internal.posts WHERE counts;
