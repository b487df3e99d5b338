"""How roles ask a model: the digest they show it, the client, the budget, and the patch that comes back."""
