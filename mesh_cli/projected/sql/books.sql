-- What the arena has spent and may spend, as the projector has folded it (`mesh.worker_costs.KeptBooks`).
SELECT books AS kept FROM internal.checkpoints WHERE arena = {arena} AND books IS NOT NULL
