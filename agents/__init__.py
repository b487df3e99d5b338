"""The roles of the swarm; each is a plain class that `python -m mesh.agent` runs."""
