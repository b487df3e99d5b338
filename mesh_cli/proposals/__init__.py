"""One proposal and its neighbours: the card, the diff, the lineage, the leaderboard."""
