"""The protocol of an agent (`protocol`), the loop that runs it (`runtime`), and `python -m mesh.agent`."""
