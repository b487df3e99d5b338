-- The noise of every worker class.
SELECT worker_class, sd, dof FROM internal.noise_in_force WHERE arena = {arena}
