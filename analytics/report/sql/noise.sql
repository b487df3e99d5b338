-- The spread between seeds, per worker class.
SELECT worker_class, proposals, runs, degrees_of_freedom, sd FROM noise WHERE arena = {arena} ORDER BY worker_class;
