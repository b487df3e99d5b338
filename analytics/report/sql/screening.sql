-- What the stages of scoring ended, and the worker seconds that this saved.
SELECT stage, reached, screened_out, seconds, saved_s FROM screening WHERE arena = {arena};
